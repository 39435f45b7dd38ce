//! Errors of a database and of work on it.

pub(crate) mod conversions;
pub(crate) mod exhausted;
pub(crate) mod invalid_options;
pub(crate) mod stage;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use db_config::ConfigError;
use db_pool::plumbing::with_causes;
use db_pool::{Kind, PoolError, ServerError, SqlState};
use diesel::result::{DatabaseErrorKind, Error as QueryError};

use crate::credentials::source::CredentialsError;

use self::exhausted::Exhausted;
use self::invalid_options::InvalidOptions;
use self::stage::Stage;
use crate::migrate::MigrateError;

/// The error that the methods of [`Database`](crate::Database) report.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No pool has this name.
    #[error("there is no pool `{asked}`; the configuration has {}; another one needs a table [database.pools.{asked}]", quoted(.known))]
    UnknownPool {
        /// The name that was asked for.
        asked: String,
        /// The names of all pools.
        known: Vec<String>,
    },
    /// The transaction's options contradict what a transaction can do. All mistakes are listed; nothing
    /// was run.
    #[error("the transaction cannot be run")]
    Invalid(#[from] InvalidOptions),
    /// The pool handed out no connection.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Migrations could not be applied, or their files could not be read.
    #[error(transparent)]
    Migrations(#[from] MigrateError),
    /// The source of the credentials has delivered none.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A statement failed.
    #[error("the query failed")]
    Query(#[source] QueryError),
    /// A statement failed, but the work ignored the failure and returned `Ok`. The server cannot commit
    /// such a transaction.
    #[error("the work succeeded although a statement in it had failed, and was rolled back")]
    Aborted(#[source] ServerError),
    /// The work returned `Ok`, but the transaction could not be committed: a statement of the work was
    /// still running, a nested transaction was still open, or the work had ended the transaction
    /// itself.
    ///
    /// The helper committed nothing. If the work ran its own COMMIT, the effects of that COMMIT stay.
    #[error("the work returned a success while {0}; the helper has committed nothing")]
    Unfinished(&'static str),
    /// Every attempt conflicted with another transaction, and no further attempt was allowed.
    #[error("gave up after {attempts} attempts that conflicted with other transactions{exhausted}")]
    Conflict {
        /// How many attempts were made.
        attempts: u32,
        /// Why there was no further attempt.
        exhausted: Exhausted,
        /// The conflict that ended the first attempt.
        first: ServerError,
        /// The conflict that ended the last attempt.
        #[source]
        last: ServerError,
    },
    /// The connection was lost after the last statement of the work and before COMMIT was sent. Nothing was
    /// committed, so it is safe to run the transaction again.
    #[error("the connection was lost before COMMIT, so nothing was committed")]
    Lost(#[source] QueryError),
    /// COMMIT was sent, and no answer came: the connection was lost, or the time was over. The work may or may
    /// not be committed.
    ///
    /// The helper never retries it. The caller can look for the rows that the work wrote, or set
    /// [`Transaction::resolve_commit`](crate::Transaction::resolve_commit), which asks the server.
    #[error("COMMIT was sent and not answered, so its outcome is unknown")]
    CommitUnknown(#[source] QueryError),
    /// The connection was lost after COMMIT was sent, and the server said afterwards that it had rolled
    /// the transaction back. It is safe to run the transaction again.
    #[error("the connection was lost during COMMIT, and the server has rolled back")]
    CommitAborted(#[source] QueryError),
    /// The work had its transaction committed with [`and_commit`](crate::ConnectionExt::and_commit), and failed
    /// afterwards. Everything up to that statement is committed. Running the work again would do it twice.
    #[error(
        "the work failed after its last statement, and that statement had committed the transaction"
    )]
    AfterCommit(#[source] Box<dyn StdError + Send + Sync>),
    /// A connection did not answer a health probe in time.
    #[error("no answer to a probe within {0:?}")]
    Silent(Duration),
    /// The timeout of the whole transaction expired. The transaction was rolled back.
    #[error("the transaction was not done within {after:?}, {during} on attempt {attempt}")]
    TimedOut {
        /// The timeout.
        after: Duration,
        /// The attempt that was running, counted from 1.
        attempt: u32,
        /// What the transaction was doing.
        during: Stage,
        /// The conflict that ended the previous attempt.
        #[source]
        last_conflict: Option<ServerError>,
    },
}

impl Error {
    /// The kind of the error, which says what to do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Config(_) | Self::UnknownPool { .. } | Self::Invalid(_) => Kind::Configuration,
            Self::Pool(error) => error.kind(),
            Self::Migrations(MigrateError::Connect { .. }) => Kind::Down,
            Self::Migrations(MigrateError::Credentials(error)) => error.kind(),
            Self::Migrations(MigrateError::Failed(_) | MigrateError::Bookkeeping { .. }) => {
                Kind::Query
            }
            Self::Migrations(_) => Kind::Configuration,
            Self::Credentials(error) => error.kind(),
            Self::Query(error) => kind_of_query(error),
            Self::Silent(_) | Self::Lost(_) | Self::CommitAborted(_) => Kind::Down,
            Self::Conflict { .. } => Kind::Conflict,
            // Conflicts, and not the statements, used up the time.
            Self::TimedOut { last_conflict, .. } => match last_conflict {
                Some(_) => Kind::Conflict,
                None => Kind::Busy,
            },
            Self::Aborted(_) | Self::Unfinished(_) => Kind::Query,
            Self::CommitUnknown(_) => Kind::OutcomeUnknown,
            Self::AfterCommit(_) => Kind::Committed,
        }
    }

    /// The server's SQLSTATE, if the server sent one and the error kept it; 08007 if the outcome is unknown.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        match self {
            Self::Pool(error) => error.sqlstate(),
            Self::Aborted(error) | Self::Conflict { last: error, .. } => {
                Some(error.sqlstate().clone())
            }
            Self::CommitUnknown(_) => Some(SqlState::TRANSACTION_RESOLUTION_UNKNOWN),
            Self::Query(error) | Self::Lost(error) | Self::CommitAborted(error) => {
                let error = decisive(error);
                ServerError::behind(error)
                    .map(|error| error.sqlstate().clone())
                    .or_else(|| code_of(error))
            }
            Self::TimedOut { last_conflict, .. } => {
                last_conflict.as_ref().map(|error| error.sqlstate().clone())
            }
            Self::Config(_)
            | Self::UnknownPool { .. }
            | Self::Credentials(_)
            | Self::Invalid(_)
            | Self::Migrations(_)
            | Self::Unfinished(_)
            | Self::Silent(_)
            | Self::AfterCommit(_) => None,
        }
    }

    /// Whether the statement violated a unique constraint: SQLSTATE 23505.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        self.sqlstate() == Some(SqlState::UNIQUE_VIOLATION)
    }

    /// The constraint that the statement violated, by its name in the database.
    #[must_use]
    pub fn constraint_name(&self) -> Option<&str> {
        match self {
            Self::Query(error) => match decisive(error) {
                QueryError::DatabaseError(_, said) => said.constraint_name(),
                _ => None,
            },
            Self::Aborted(error) => error.constraint(),
            _ => None,
        }
    }

    /// The error with all its causes, in one line, for a log. A `main` that returns the error prints the same.
    ///
    /// `Display` has no causes, because logs that show the sources of an error add them.
    #[must_use]
    pub fn report(&self) -> String {
        with_causes(self)
    }

    /// The error of the statement that failed.
    pub(crate) fn query(&self) -> Option<&QueryError> {
        match self {
            Self::Query(error) => Some(error),
            _ => None,
        }
    }
}

/// The same as [`Error::report`], because `main` prints `Debug` of the error that it returns.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report())
    }
}

/// The error that decides. If a COMMIT failed and the ROLLBACK failed too, that is the error of the COMMIT.
fn decisive(error: &QueryError) -> &QueryError {
    match error {
        QueryError::RollbackErrorOnCommit { commit_error, .. } => decisive(commit_error),
        error => error,
    }
}

/// The kind of a diesel error, from what the server said if that is known.
pub(crate) fn kind_of_query(error: &QueryError) -> Kind {
    let error = decisive(error);
    if ServerError::is_outcome_unknown(error) {
        return Kind::OutcomeUnknown;
    }
    match ServerError::behind(error) {
        Some(said) if said.is_wait_for_server() => Kind::Busy,
        Some(said) if said.is_conflict() => Kind::Conflict,
        Some(said) if said.is_loss() => Kind::Down,
        _ if ServerError::is_end_of_connection(error) => Kind::Down,
        _ => match error {
            QueryError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => Kind::Conflict,
            _ => Kind::Query,
        },
    }
}

/// Names in a sentence: `` `write`, `read` ``.
fn quoted(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// The SQLSTATE of an error kind that diesel knows.
fn code_of(error: &QueryError) -> Option<SqlState> {
    if ServerError::is_outcome_unknown(error) {
        return Some(SqlState::TRANSACTION_RESOLUTION_UNKNOWN);
    }
    let QueryError::DatabaseError(kind, _) = error else {
        return None;
    };
    Some(match kind {
        DatabaseErrorKind::UniqueViolation => SqlState::UNIQUE_VIOLATION,
        DatabaseErrorKind::ForeignKeyViolation => SqlState::FOREIGN_KEY_VIOLATION,
        DatabaseErrorKind::NotNullViolation => SqlState::NOT_NULL_VIOLATION,
        DatabaseErrorKind::CheckViolation => SqlState::CHECK_VIOLATION,
        DatabaseErrorKind::ExclusionViolation => SqlState::EXCLUSION_VIOLATION,
        DatabaseErrorKind::RestrictViolation => SqlState::RESTRICT_VIOLATION,
        DatabaseErrorKind::SerializationFailure => SqlState::T_R_SERIALIZATION_FAILURE,
        DatabaseErrorKind::ReadOnlyTransaction => SqlState::READ_ONLY_SQL_TRANSACTION,
        _ => return None,
    })
}
