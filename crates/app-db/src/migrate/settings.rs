//! The settings under `database.migrations`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// How migrations run. Every field has a key of the same name in `config/README.md`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MigrationSettings {
    pub(super) directory: PathBuf,
    /// How long one statement waits for a lock before the migration is rolled back and tried again. Too
    /// high: every statement that queues behind the waiting one stalls as long. Too low: a busy table
    /// is never altered.
    #[serde(with = "db_config::duration::optional")]
    pub(super) lock_timeout: Option<Duration>,
    /// How long the migrator retries a migration that did not get a lock. Too low: a deploy fails while a
    /// backup runs.
    #[serde(with = "db_config::duration::optional")]
    pub(super) lock_retry: Option<Duration>,
    /// How long one statement may run. Too low: a long table rewrite never finishes.
    #[serde(with = "db_config::duration::optional")]
    pub(super) statement_timeout: Option<Duration>,
    /// How long to wait for another migrator. Too low: deploys that start together fail.
    #[serde(with = "db_config::duration")]
    pub(super) lock_wait: Duration,
    /// Whether a service applies the pending migrations before it opens its pools.
    #[serde(deserialize_with = "on_or_off")]
    pub(super) migrate_on_start: bool,
}

impl MigrationSettings {
    /// The built-in values of the configuration, for a migrator without one.
    pub(super) fn built_in() -> Self {
        Self {
            directory: PathBuf::from("migrations"),
            lock_timeout: Some(Duration::from_secs(2)),
            lock_retry: Some(Duration::from_secs(10 * 60)),
            statement_timeout: Some(Duration::from_secs(15 * 60)),
            lock_wait: Duration::from_secs(5 * 60),
            migrate_on_start: false,
        }
    }
}

fn on_or_off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(String::deserialize(deserializer)? == "on")
}
