//! What can go wrong with migrations, sorted by what the reader must do about it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use db_config::ConfigError;
use db_pool::ConnectError;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use crate::migrate::holder::Holder;
use crate::migrate::statements::MigrationStatement;

/// Why a migration command did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The configuration names no usable direct URL, or a setting under `migrations` is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// The migrator could not connect to the server.
    #[error("no connection for migrations by {origin}")]
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
        "{origin} leads to a pooler or proxy ({evidence}): migrations need the server itself, set \
         DATABASE_URL_DIRECT to its own URL; a proxy that keeps one server connection per client \
         can be allowed explicitly"
    )]
    #[non_exhaustive]
    Pooled {
        /// The key and the origin of the URL.
        origin: String,
        /// What showed that it is a pooler.
        evidence: String,
    },

    /// Another migrator held the lock for longer than `migrations.lock_wait`.
    #[error("gave up after {waited:?} waiting for another migrator{}", OptionalHolder(.holder))]
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
         allow migrations out of order"
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

    /// The migrator failed at its own bookkeeping: the lock or `__diesel_schema_migrations`.
    #[error("cannot {action}")]
    #[non_exhaustive]
    Bookkeeping {
        /// What it tried to do.
        action: &'static str,
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
        Self::Source {
            path: path.to_owned(),
            problem: "cannot be read".to_owned(),
            source: Some(error),
        }
    }

    /// Makes the error, for `map_err` after statements of the migrator itself.
    pub(super) fn bookkeeping(
        action: &'static str,
    ) -> impl FnOnce(tokio_postgres::Error) -> MigrateError {
        move |source| Self::Bookkeeping { action, source }
    }
}

/// The statement that failed, its place in the file, and the state in which the database is now.
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedMigration {
    /// The migration's version.
    pub version: String,
    /// The file that holds the statement.
    pub file: PathBuf,
    /// Line in the file, from 1: the line of the error if the server gives a position, and otherwise
    /// the line of the statement.
    pub line: usize,
    /// Column in that line, in characters, from 1.
    pub column: usize,
    /// The SQLSTATE. `None` if the connection was lost.
    pub sqlstate: Option<SqlState>,
    /// What the migration left in the database.
    pub state: LeftBehind,
    /// How many migrations this command had finished before. They stay.
    pub finished_before: usize,
    source: tokio_postgres::Error,
}

/// What a failed migration left in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftBehind {
    /// Nothing: its transaction was rolled back.
    Nothing,
    /// The effects of its first statements, because the migration runs outside a transaction.
    #[non_exhaustive]
    Statements {
        /// How many have run.
        done: usize,
        /// Indexes that a failed `CREATE INDEX CONCURRENTLY` left invalid. They have to be dropped
        /// by hand.
        invalid_indexes: Vec<String>,
    },
    /// Unknown: the connection was lost during COMMIT.
    Unknown,
}

impl FailedMigration {
    pub(super) fn new(at: FailedStatement<'_>, state: LeftBehind) -> Self {
        let position = match at.source.as_db_error().and_then(DbError::position) {
            Some(ErrorPosition::Original(position)) => *position as usize,
            _ => 1,
        };
        let offset = at
            .statement
            .sql
            .char_indices()
            .nth(position.saturating_sub(1));
        let offset = at.statement.offset + offset.map_or(0, |(bytes, _)| bytes);
        let (line, column) = line_and_column(at.text, offset);
        Self {
            version: at.version.to_owned(),
            file: at.file,
            line,
            column,
            sqlstate: at.source.code().cloned(),
            state,
            finished_before: 0,
            source: at.source,
        }
    }
}

/// A failed statement, while it is not yet known what it left behind.
pub(super) struct FailedStatement<'a> {
    pub(super) version: &'a str,
    pub(super) file: PathBuf,
    pub(super) text: &'a str,
    pub(super) statement: MigrationStatement<'a>,
    pub(super) source: tokio_postgres::Error,
}

impl fmt::Display for FailedMigration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            file,
            line,
            column,
            ..
        } = self;
        write!(
            f,
            "migration {version} failed at {}:{line}:{column}",
            file.display()
        )?;
        if let Some(sqlstate) = &self.sqlstate {
            write!(f, " with SQLSTATE {}", sqlstate.code())?;
        }
        match &self.state {
            LeftBehind::Nothing => f.write_str(", and was rolled back")?,
            LeftBehind::Unknown => f.write_str("; whether it was committed is unknown")?,
            LeftBehind::Statements {
                done,
                invalid_indexes,
            } => {
                write!(
                    f,
                    "; it runs outside a transaction and is not recorded, but "
                )?;
                write!(
                    f,
                    "{} before",
                    Count(*done, "statement has run", "statements have run")
                )?;
                if !invalid_indexes.is_empty() {
                    write!(
                        f,
                        ", and invalid indexes are left: {}",
                        invalid_indexes.join(", ")
                    )?;
                }
            }
        }
        if self.finished_before > 0 {
            let finished = Count(self.finished_before, "migration", "migrations");
            write!(f, "; {finished} before it stay done")?;
        }
        Ok(())
    }
}

impl std::error::Error for FailedMigration {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Line and column of a byte offset, both from 1, the column in characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        1 + before.matches('\n').count(),
        1 + before[line_start..].chars().count(),
    )
}

struct OptionalHolder<'a>(&'a Option<Holder>);

impl fmt::Display for OptionalHolder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .as_ref()
            .map_or(Ok(()), |holder| write!(f, ": {holder}"))
    }
}

/// A number with the noun it counts.
struct Count(usize, &'static str, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, one, many) = self;
        write!(f, "{count} {}", if *count == 1 { one } else { many })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let text = "select 1;\n-- ü\nsélect 2";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find("lect 2").unwrap()), (3, 3));
    }

    #[test]
    fn a_wait_for_the_lock_names_its_holder() {
        let error = MigrateError::Locked {
            waited: Duration::from_secs(2),
            holder: Some(Holder {
                pid: 42,
                application_name: "dbctl".to_owned(),
            }),
        };
        assert_eq!(
            error.to_string(),
            "gave up after 2s waiting for another migrator: backend 42 (dbctl)"
        );
    }
}
