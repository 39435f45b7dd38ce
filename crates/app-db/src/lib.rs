#![doc = include_str!("../README.md")]

mod credentials;
mod database;
mod error;
mod extension;
mod health;
mod listener;
mod migrate;
mod open;
mod pools;
mod serialized;
mod snapshot;
mod transaction;
mod work;

pub use db_config::{
    self, Config, ConfigError, Credentials, DirectUrl, Endpoint, Environment, PooledUrl,
    SecretString,
};
pub use db_pool::{
    self, Breaker, CancelToken, Closed, ConnectError, Connection, Diagnosis, Gap, Heard, Hold,
    Kind, Notification, Pool, PoolError, PoolProfile, PoolSettings, PoolSnapshot, Quantiles,
    RateLimit, RateLimited, Rotation, ServerError, SqlState, StatementStats, Status,
};

pub use self::credentials::check::{CheckedLogin, CredentialCheck};
pub use self::credentials::current_credentials::CurrentCredentials;
pub use self::credentials::renewal_handle::Refresh;
pub use self::credentials::source::{
    CredentialSource, CredentialsError, CredentialsProblem, Fetched,
};
pub use self::credentials::status::{CredentialState, CredentialStatus};
pub use self::database::Database;
pub use self::error::Error;
pub use self::error::exhausted::Exhausted;
pub use self::error::invalid_options::{InvalidOption, InvalidOptions};
pub use self::error::stage::Stage;
pub use self::extension::ConnectionExt;
pub use self::health::{Health, PoolHealth};
pub use self::listener::Listener;
pub use self::migrate::{
    ApprovedPlan, Blocker, ChecksumState, Column, Damage, EmbeddedMigration, FailedMigration,
    FileStatement, FinishedMigration, Holder, LeftBehind, LockHolder, LockInfo, LockMode, LockWait,
    MigrateError, Migration, MigrationEvent, MigrationSource, MigrationState, MigrationStatus,
    Migrator, Phase, PlannedMigration, PlannedRelation, PlannedStatement, Rehearsed, RehearsedLock,
    SchemaState, Verification, VerifiedMigration,
};
pub use self::snapshot::{RetryCount, Snapshot};
pub use self::transaction::Transaction;
pub use self::transaction::open_transaction::OpenTransaction;
pub use self::work::Work;

#[doc = include_str!("../COOKBOOK.md")]
pub mod cookbook {}

#[doc(hidden)]
pub use include_dir;

/// Puts a folder of migrations into the program, so that no files have to be shipped with it.
///
/// The folder has diesel's layout. `$CARGO_MANIFEST_DIR` stands for the folder of the crate's `Cargo.toml`.
/// cargo notices a changed file, but notices a new directory only when it compiles the file with this macro
/// again.
///
/// It returns `Result<MigrationSource, MigrateError>`.
///
/// ```
/// let source = app_db::embed_migrations!("$CARGO_MANIFEST_DIR/../../migrations")?;
/// assert!(!source.read()?.is_empty());
/// # Ok::<(), app_db::MigrateError>(())
/// ```
#[macro_export]
macro_rules! embed_migrations {
    ($folder:tt) => {{
        use $crate::include_dir;
        static FOLDER: include_dir::Dir<'static> = include_dir::include_dir!($folder);
        $crate::MigrationSource::included(&FOLDER)
    }};
}

/// Compiles the examples of the documents.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;

    #[doc = include_str!("../../../docs/guide.md")]
    struct Guide;

    #[doc = include_str!("../../../docs/migrations.md")]
    struct Migrations;

    #[doc = include_str!("../../../docs/errors.md")]
    struct Errors;

    #[doc = include_str!("../../../docs/serverless.md")]
    struct Serverless;

    #[doc = include_str!("../../../docs/rotation.md")]
    struct Rotation;
}
