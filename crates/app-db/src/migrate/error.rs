//! What can go wrong with migrations, sorted by what the reader must do about it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use db_config::ConfigError;
use db_pool::ConnectError;

use crate::credentials::source::CredentialsError;
use crate::migrate::count::Count;
use crate::migrate::event::MigrationEvent;
use crate::migrate::failed_migration::FailedMigration;
use crate::migrate::holder::Holder;
use crate::migrate::remedy::Remedy;

/// Why a migration command did not finish.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The configuration names no usable direct URL, or a setting under `migrations` is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// The source of the credentials delivers nothing.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),

    /// The migrator could not connect to the server.
    #[error("no connection for migrations through {origin}")]
    #[non_exhaustive]
    Connect {
        /// The key and the origin of the URL.
        origin: String,
        /// What the server or the network said.
        #[source]
        source: ConnectError,
    },

    /// The URL leads to a pooler. Neither the lock nor session settings hold through a pooler.
    #[error(
        "{origin} leads to a pooler or proxy ({evidence}), but migrations need the server itself: set \
         DATABASE_URL_DIRECT to the server's own URL; if a proxy keeps one server connection for each \
         client, `--through-proxy` (`Migrator::through_proxy`) accepts it"
    )]
    #[non_exhaustive]
    Pooled {
        /// The key and the origin of the URL.
        origin: String,
        /// What showed that it is a pooler.
        evidence: String,
    },

    /// Another migrator held the lock for longer than `migrations.lock_wait`.
    #[error("gave up after {waited:.1?} waiting for another migrator{}", OptionalHolder(.holder))]
    #[non_exhaustive]
    Locked {
        /// How long this migrator waited.
        waited: Duration,
        /// Which session has the lock, if the server shows it.
        holder: Option<Holder>,
    },

    /// A file of a migration is missing, unreadable or not understood. Nothing was changed.
    #[error("{} {problem}", path.display())]
    #[non_exhaustive]
    Source {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// The error of the file system, if there was one.
        #[source]
        source: Option<std::io::Error>,
    },

    /// A pending migration is older than an applied one. Nothing was changed.
    #[error(
        "pending {version}_{name} is older than the applied {newest}: give it a newer version, or \
         allow it with `--allow-out-of-order` (`Migrator::allow_out_of_order`)"
    )]
    #[non_exhaustive]
    OutOfOrder {
        /// The version of the oldest such migration.
        version: String,
        /// Its name.
        name: String,
        /// The newest applied version.
        newest: String,
    },

    /// The pending migrations differ from the approved plan. Nothing was changed.
    #[error("this is not what was planned: {problem}; plan again, with the same flags as the run")]
    #[non_exhaustive]
    NotAsPlanned {
        /// The first difference.
        problem: String,
    },

    /// The `up.sql` of an applied migration is not the one that was applied. Nothing was changed.
    #[error(
        "{migration} was edited after it was applied{}: restore it and write the change as a new \
         migration, or accept it with `dbctl migrate repair --accept {version}` (`Migrator::accept`)",
        Others(*.others)
    )]
    #[non_exhaustive]
    Drifted {
        /// The version of the oldest such migration.
        version: String,
        /// `<version>_<name>` of it.
        migration: String,
        /// How many others there are.
        others: usize,
    },

    /// A migration outside a transaction is unfinished, and somebody has edited the statements that have
    /// run. Nothing was changed.
    #[error(
        "{migration} was interrupted after {}, edited since: restore what has run, or let it start \
         from the beginning with `dbctl migrate repair --restart {version}` (`Migrator::restart`)",
        Count(*done, "statement", "statements")
    )]
    #[non_exhaustive]
    EditedUnfinished {
        /// The version.
        version: String,
        /// `<version>_<name>`.
        migration: String,
        /// How many statements have run.
        done: usize,
    },

    /// No applied or unfinished migration has the version that is to be repaired. Nothing was changed.
    #[error("cannot repair {version}: {reason}")]
    #[non_exhaustive]
    NotApplied {
        /// The version as it was given.
        version: String,
        /// What is missing.
        reason: String,
    },

    /// The source has no migration of this version. Nothing was changed.
    #[error(
        "no migration has the version {version}{}",
        newest.as_ref().map_or_else(String::new, |newest| format!(", the newest is {newest}"))
    )]
    #[non_exhaustive]
    UnknownVersion {
        /// The version as it was given.
        version: String,
        /// `<version>_<name>` of the newest migration that there is.
        newest: Option<String>,
    },

    /// The caller asked a run to end with a version, but a newer one is applied. Nothing was changed.
    #[error(
        "{newest} is applied, which is newer than {version}, and a run does not go back: revert with \
         `dbctl migrate revert --to {version}` (`Migrator::revert_to`)"
    )]
    #[non_exhaustive]
    AlreadyBeyond {
        /// The version to end with.
        version: String,
        /// The newest applied version.
        newest: String,
    },

    /// The caller asked for the phase `contract`, but a migration that belongs before it is pending. Nothing
    /// was changed.
    #[error(
        "{migration} is pending and not of the phase `contract`: run `--phase expand` and deploy first"
    )]
    #[non_exhaustive]
    ExpandFirst {
        /// `<version>_<name>` of the migration.
        migration: String,
    },

    /// In production one run would have applied both phases of a deploy. Nothing was changed.
    #[error(
        "{contract} is of the phase `contract`, and others would run with it while the old code still \
         runs: use `--phase expand`, deploy, and then `--phase contract`"
    )]
    #[non_exhaustive]
    BothPhases {
        /// `<version>_<name>` of the first migration of the phase.
        contract: String,
    },

    /// The schema does not have what the migrations of a baseline create. Nothing was recorded.
    #[error("cannot take {version} as the baseline, because the database does not have {}", missing.join(", "))]
    #[non_exhaustive]
    NoBaseline {
        /// The version as recorded.
        version: String,
        /// Relations that the migrations create and the database lacks.
        missing: Vec<String>,
    },

    /// The scratch database is not empty, so somebody may be using it. Nothing was changed.
    #[error("the scratch database {database} is not empty, so it is left alone: name an empty one")]
    #[non_exhaustive]
    NotEmpty {
        /// The database.
        database: String,
    },

    /// [`Migrator::wait`](super::Migrator::wait) reached its limit.
    #[error("gave up after {waited:.1?} waiting until the migrations are applied: {} pending", Count(*pending, "is", "are"))]
    #[non_exhaustive]
    StillPending {
        /// How long it has waited.
        waited: Duration,
        /// How many migrations are pending.
        pending: usize,
    },

    /// An applied migration cannot be reverted. Nothing was changed.
    #[error("cannot revert {version}: {reason}")]
    #[non_exhaustive]
    Irreversible {
        /// The migration's version.
        version: String,
        /// What is missing.
        reason: String,
    },

    /// [`Migrator::assert_up_to_date`](super::Migrator::assert_up_to_date) found pending migrations.
    #[error("{} pending, the oldest is {oldest}", Count(*.count, "migration is", "migrations are"))]
    #[non_exhaustive]
    Pending {
        /// How many migrations are pending.
        count: usize,
        /// `<version>_<name>` of the first to be applied.
        oldest: String,
    },

    /// A statement of a migration failed.
    #[error(transparent)]
    Failed(Box<FailedMigration>),

    /// Two tables `__diesel_schema_migrations` could be the history of these migrations. Nothing was
    /// changed.
    #[error(
        "{other} has {recorded} of these migrations on record, but along search_path the history is \
         {used}: keep one of the two, with `ALTER TABLE .. SET SCHEMA` or `DROP TABLE`"
    )]
    #[non_exhaustive]
    TwoHistories {
        /// The table to which `search_path` leads. It need not exist.
        used: String,
        /// The other table.
        other: String,
        /// How many migrations of the source the other table has on record.
        recorded: usize,
    },

    /// A statement that builds an index concurrently succeeded, but the index is missing: `IF NOT EXISTS`
    /// found another one of the name. The migration is not recorded.
    #[error("migration {migration} did not build its index on {table}, because {problem}")]
    #[non_exhaustive]
    IndexNotBuilt {
        /// `<version>_<name>` of the migration.
        migration: String,
        /// The table, as the statement names it.
        table: String,
        /// What was found instead of the index.
        problem: String,
    },

    /// A migration released the lock of the migrators. Nothing was run without the lock.
    #[error(
        "migration {migration} released the lock of the migrators, as `pg_advisory_unlock_all` and \
         `DISCARD ALL` do: what is recorded stays, run again for the rest"
    )]
    #[non_exhaustive]
    LockLost {
        /// `<version>_<name>` of the migration.
        migration: String,
    },

    /// The migrator failed in its own bookkeeping, such as the lock or `__diesel_schema_migrations`.
    #[error("cannot {action}{}", Remedy(source.code()))]
    #[non_exhaustive]
    Bookkeeping {
        /// What it tried to do.
        action: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
}

impl MigrateError {
    pub(super) fn source(path: &Path, problem: impl Into<String>) -> Self {
        Self::Source {
            path: path.to_owned(),
            problem: problem.into(),
            source: None,
        }
    }

    pub(super) fn unreadable(path: &Path, error: std::io::Error) -> Self {
        let source = (error.kind() != std::io::ErrorKind::NotFound).then_some(error);
        let problem = source.as_ref().map_or(MISSING, |_| "cannot be read");
        Self::Source {
            path: path.to_owned(),
            problem: problem.to_owned(),
            source,
        }
    }

    /// The last event of a migration that has failed.
    pub(super) fn event(&self, version: &str) -> MigrationEvent {
        let failed = match self {
            Self::Failed(failed) => Some(failed),
            _ => None,
        };
        let sqlstate = match self {
            Self::Bookkeeping { source, .. } => source.code(),
            _ => failed.and_then(|failed| failed.sqlstate.as_ref()),
        };
        MigrationEvent::Failed {
            version: version.to_owned(),
            file: failed.map(|failed| failed.file.clone()),
            line: failed.map(|failed| failed.line),
            column: failed.map(|failed| failed.column),
            sqlstate: sqlstate.map(|code| code.code().to_owned()),
            message: self.report(),
        }
    }

    /// The error with all its causes in one line, for logs. A `main` that returns the error prints the same.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let part = error.to_string();
            // tokio-postgres says "db error"; its cause has the server's text.
            if part != "db error" && !text.ends_with(&part) {
                text = format!("{text}: {part}");
            }
            cause = error.source();
        }
        text
    }

    /// Makes the error, for `map_err` after the migrator's own statements.
    pub(super) fn bookkeeping(
        action: impl Into<String>,
    ) -> impl FnOnce(tokio_postgres::Error) -> MigrateError {
        move |source| Self::Bookkeeping {
            action: action.into(),
            source,
        }
    }
}

/// The same text as [`MigrateError::report`], because `main` prints `Debug` for an error that it returns.
impl fmt::Debug for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report())
    }
}

impl From<FailedMigration> for MigrateError {
    fn from(failed: FailedMigration) -> Self {
        Self::Failed(Box::new(failed))
    }
}

/// How many more there are, if any.
struct Others(usize);

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            others => write!(f, ", and so were {}", Count(others, "other", "others")),
        }
    }
}

struct OptionalHolder<'a>(&'a Option<Holder>);

impl fmt::Display for OptionalHolder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .as_ref()
            .map_or(Ok(()), |holder| write!(f, ": {holder}"))
    }
}

const MISSING: &str = "does not exist; run this in the service's folder, set `migrations.directory`, \
                       or begin with `dbctl migrate new NAME`";

#[cfg(test)]
mod tests;
