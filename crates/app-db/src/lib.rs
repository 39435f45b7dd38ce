#![doc = include_str!("../README.md")]

mod database;
mod error;
mod extension;
mod health;
mod migrate;
mod open;
mod pools;
mod transaction;
mod work;

pub use db_config::{
    self, Config, ConfigError, Credentials, DirectUrl, Endpoint, Environment, PooledUrl,
    SecretString,
};
pub use db_pool::{
    self, Breaker, CancelToken, Closed, ConnectError, Connection, Diagnosis, Hold, Kind, Pool,
    PoolError, PoolProfile, Quantiles, Rotation, ServerError, SqlState, StatementStats, Status,
};

pub use self::database::Database;
pub use self::error::Error;
pub use self::error::exhausted::Exhausted;
pub use self::error::invalid_options::{InvalidOption, InvalidOptions};
pub use self::error::stage::Stage;
pub use self::extension::ConnectionExt;
pub use self::health::{Health, PoolHealth};
pub use self::migrate::{
    Blocker, EmbeddedMigration, FailedMigration, FinishedMigration, Holder, LeftBehind, LockWait,
    MigrateError, MigrationSource, MigrationState, MigrationStatus, Migrator,
};
pub use self::transaction::Transaction;
pub use self::work::Work;

#[doc = include_str!("../COOKBOOK.md")]
pub mod cookbook {}

/// Compiles the examples of the documents.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;

    #[doc = include_str!("../../../docs/guide.md")]
    struct Guide;

    #[doc = include_str!("../../../docs/serverless.md")]
    struct Serverless;
}
