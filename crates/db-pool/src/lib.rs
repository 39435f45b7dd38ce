//! A PostgreSQL pool for diesel-async that cannot be poisoned.
//!
//! [`Pool`] hands out [`Connection`]s, which dereference to `AsyncPgConnection`, so that every
//! function taking `&mut AsyncPgConnection` works unchanged. [`PoolProfile`] holds the numbers of an
//! environment.

mod backend;
mod begun;
mod bound_values;
mod breaker;
mod cancel;
mod changes;
mod checkout;
mod close;
mod closing;
mod connection;
mod connector;
mod diagnosis;
mod dial;
mod error;
mod fingerprint;
mod gate;
#[cfg(test)]
mod gated;
mod generation;
mod histogram;
mod hold;
mod keeper;
mod lease;
mod line;
mod login;
mod long_hold;
mod manager;
mod nested;
mod observer;
mod phases;
mod place;
mod pool;
mod pooler;
mod profile;
mod reason;
mod reconnect;
mod registry;
mod reset;
mod resize;
mod rotation;
mod session;
mod slots;
mod slow_query;
mod stage;
mod statement_span;
mod statement_stats;
mod status;
mod tls;
mod validate;
mod waits;
mod warm_up;
mod watch;

pub use db_config::{Credentials, DirectUrl, Endpoint, PooledUrl};
pub use db_wire::{Observed, ServerError, TransactionStatus, Unresolved};

pub use self::breaker::Breaker;
pub use self::connection::Connection;
pub use self::diagnosis::Diagnosis;
pub use self::dial::connect_client;
pub use self::error::{ConnectError, Failure, Kind, PoolError};
pub use self::fingerprint::breaks_a_line;
pub use self::histogram::Quantiles;
pub use self::hold::Hold;
pub use self::observer::Observer;
pub use self::phases::ConnectPhases;
pub use self::pool::Pool;
pub use self::pooler::Pooler;
pub use self::profile::{PoolProfile, PoolerMode, Reconnect, Reset, Statements, Via};
pub use self::rotation::{Proof, Rotation};
pub use self::stage::ConnectStage;
pub use self::statement_stats::StatementStats;
pub use self::status::{Closed, Status};
pub use tokio_postgres::error::SqlState;
