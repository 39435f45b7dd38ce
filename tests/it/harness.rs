//! The harness itself: what other tests build on must hold first.

mod bouncer;
mod cluster;
mod database;
mod leaving;
mod proxy;
