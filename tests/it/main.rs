//! Integration tests against real servers, one file per behaviour.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alone;
mod and_commit;
mod at_rest;
mod cancel_token;
mod cancellation;
mod captured;
mod checkout;
mod commit;
mod copy;
mod credentials;
mod database;
mod dbctl;
mod demo;
mod detach;
mod differential;
mod docs;
mod doctor;
mod first_row;
mod guard;
mod harness;
mod holders;
mod hostile;
mod hosts;
mod languages;
mod lazy;
mod ledger;
mod libpq;
mod lifetime;
mod lint_reference;
mod listen;
mod migrate;
mod model;
mod operate;
mod orders;
mod outage;
mod outcomes;
mod pgpool;
mod pool;
mod programs;
mod provider;
mod queue;
mod reset;
mod resize;
mod retry;
mod rotation;
mod runtime;
mod serverless;
mod session;
mod slow_query;
mod soak;
mod spans;
mod sqlstate;
mod statement_stats;
mod storeys;
mod test_database;
mod test_transaction;
mod tls;
mod transaction;
mod transaction_options;
mod transaction_pooler;
mod wire;

/// Longer than anything that a test waits for takes.
const SOON: std::time::Duration = std::time::Duration::from_secs(10);
