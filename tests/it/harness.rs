//! The harness itself: what other tests build on must hold first.

mod at_rest;
mod bouncer;
mod cases;
mod cluster;
mod database;
mod development;
mod leaving;
mod left_out;
mod proxy;
