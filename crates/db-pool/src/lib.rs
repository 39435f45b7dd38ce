#![doc = include_str!("../README.md")]

mod backend;
mod beside;
mod causes;
mod changes;
mod checkout;
mod connect;
mod deadline;
mod error;
mod fingerprint;
#[cfg(test)]
mod gated;
mod generation;
mod histogram;
mod line_breaks;
mod logins;
#[doc(hidden)]
pub mod plumbing;
mod pool;
mod pool_runtime;
mod pool_times;
mod profile;
mod queue;
mod rate_limit;
mod registry;
mod serialized;
mod settings;
mod shared;
mod sign_of_life;
mod snapshot;
mod status;
mod telemetry;
mod time_buckets;
mod totals;
mod upkeep;

pub use db_config::{Credentials, DirectUrl, Endpoint, Environment, PooledUrl};
pub use db_wire::{ServerError, TransactionStatus};

pub use self::backend::hold::Hold;
pub use self::beside::listener::{Gap, Heard, Listener, Notification};
pub use self::checkout::connection::Connection;
pub use self::checkout::diagnosis::Diagnosis;
pub use self::connect::breaker::Breaker;
pub use self::connect::cancel_token::CancelToken;
pub use self::connect::certificate_problem::CertificateProblem;
pub use self::connect::connect_error::{ConnectError, ConnectFailure};
pub use self::connect::dialler::connect_client;
pub use self::connect::phases::ConnectPhases;
pub use self::connect::pooler::Pooler;
pub use self::connect::stage::ConnectStage;
pub use self::error::{Kind, PoolError};
pub use self::histogram::Quantiles;
pub use self::pool::Pool;
pub use self::pool_times::{TimeEvent, TimeListener, Times};
pub use self::profile::{
    PoolProfile, PoolerMode, Reconnect, Reset, Sizing, Statements, Via, WireMode,
};
pub use self::rate_limit::{RateLimit, RateLimited};
pub use self::settings::PoolSettings;
pub use self::snapshot::PoolSnapshot;
pub use self::status::{CheckoutCounts, CloseCounts, Closed, ConnectCounts, Status};
pub use self::telemetry::statement_stats::StatementStats;
pub use self::time_buckets::TimeBuckets;
pub use self::upkeep::rotation::Rotation;
pub use tokio_postgres::error::SqlState;
