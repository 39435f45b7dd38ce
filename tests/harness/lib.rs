//! Real servers for tests: PostgreSQL clusters, PgBouncer, a TCP proxy with faults.
//!
//! Each test takes a [`TestDatabase`] of its own, which is cloned from a migrated template on a shared
//! cluster. A test that restarts, freezes or reconfigures its server starts a private [`Cluster`]
//! (about 150 ms). The fixtures speak to the servers only through `tokio-postgres`, so that no test
//! trusts the layer it is testing.
//!
//! A test can check what the tested code did. A [`Census`] counts the sessions of its database all the time.
//! [`overheard()`] returns everything with a password in it that this process has said. And because the fixtures
//! run [`beside()`] the test, its runtime has only tasks of the tested code.
//!
//! Everything here removes what it made: on drop, by a supervising shell when the process dies
//! without dropping, and by a sweep at the next start when even the shell was killed.
//!
//! Variables of the environment:
//! - `DB_TESTS_CLUSTER`: the folder of a running cluster that [`Cluster::shared`] attaches to; set by `with-cluster`.
//! - `PG`: the major version of PostgreSQL to use, `18`; without it the one found first.
//! - `DB_TESTS_POSTGRES_BIN`: the folder of `postgres` and `initdb` to use instead of the one found.
//! - `DB_TESTS_PGBOUNCER`: the `pgbouncer` to use instead of the one found.
//! - `DB_TESTS_PGPOOL`: the `pgpool` to use instead of the one found.

mod account;
mod app_servers;
mod beside;
mod binaries;
mod bouncer;
mod census;
mod certificates;
mod cluster;
mod database;
mod error;
mod faults;
mod folder;
mod frozen;
mod lacking;
mod migrated;
mod overheard;
mod pgpool;
mod proxy;
mod replica;
mod server;
mod supervisor;
mod template;
mod urls;
mod wait;

pub use app_servers::AppServers;
pub use beside::beside;
pub use binaries::Binaries;
pub use bouncer::{Bouncer, BouncerBinary, BouncerOptions, PoolMode};
pub use census::{Backend, Census};
pub use certificates::{Authority, Certificate};
pub use cluster::{Cluster, ClusterOptions};
pub use database::{TestDatabase, TestRole};
pub use error::HarnessError;
pub use faults::Fault;
pub use folder::kept_folder;
pub use frozen::Frozen;
pub use lacking::{Lacking, lacking};
pub use overheard::{listen, overheard, secret_in};
pub use pgpool::{Pgpool, PgpoolMode};
pub use proxy::Proxy;
pub use server::Server;
pub use supervisor::Stop;
pub use urls::{through_port, url};
pub use wait::wait_until;

/// Compiles the examples of docs/moving.md, which need other pools beside ours.
#[cfg(doctest)]
#[doc = include_str!("../../docs/moving.md")]
struct Moving;
