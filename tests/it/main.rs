//! Integration tests against real servers, one file per behaviour.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod database;
mod dbctl;
mod demo;
mod harness;
mod ledger;
mod migrate;
mod pool;
mod programs;
mod rotation;
mod session;
mod tls;
mod transaction;

/// Longer than anything takes that a test waits for.
const SOON: std::time::Duration = std::time::Duration::from_secs(10);
