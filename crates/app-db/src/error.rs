//! What can go wrong around the work of a caller.

pub(crate) mod exhausted;
pub(crate) mod invalid_options;
pub(crate) mod stage;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use db_config::ConfigError;
use db_pool::plumbing::Observed;
use db_pool::{Kind, PoolError, ServerError, SqlState};
use diesel::result::{DatabaseErrorKind, Error as QueryError};

use self::exhausted::Exhausted;
use self::invalid_options::InvalidOptions;
use self::stage::Stage;
use crate::migrate::MigrateError;

/// The error that the methods of [`Database`](crate::Database) report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The transaction's options contradict what a transaction can do. All mistakes are listed; nothing
    /// was run.
    #[error("the transaction cannot be run")]
    Invalid(#[from] InvalidOptions),
    /// The pool handed out no connection.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Migrations could not be applied, or their files not be read.
    #[error(transparent)]
    Migrations(#[from] MigrateError),
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
    /// The helper committed nothing. If the work ran a COMMIT of its own, what that COMMIT wrote stays.
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
    /// The connection was lost after COMMIT was sent and before it was answered. The work may be
    /// committed or not.
    ///
    /// The helper never retries it. The caller can look for what the work wrote, or ask for
    /// [`Transaction::resolve_commit`](crate::Transaction::resolve_commit), which asks the server.
    #[error("the connection was lost during COMMIT, so that its outcome is unknown")]
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
    /// The kind of the trouble, which says what to do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Config(_) | Self::Invalid(_) => Kind::Configuration,
            Self::Pool(error) => error.kind(),
            Self::Migrations(MigrateError::Connect { .. }) => Kind::Down,
            Self::Migrations(MigrateError::Failed(_) | MigrateError::Bookkeeping { .. }) => {
                Kind::Query
            }
            Self::Migrations(_) => Kind::Configuration,
            Self::Query(error) if ServerError::is_outcome_unknown(error) => Kind::OutcomeUnknown,
            Self::Query(error) if ServerError::is_end_of_connection(error) => Kind::Down,
            Self::Silent(_) | Self::CommitAborted(_) => Kind::Down,
            Self::TimedOut {
                during: Stage::Checkout,
                ..
            } => Kind::Busy,
            Self::Query(_) | Self::Aborted(_) | Self::Unfinished(_) | Self::TimedOut { .. } => {
                Kind::Query
            }
            Self::Conflict { .. } => Kind::Conflict,
            Self::CommitUnknown(_) => Kind::OutcomeUnknown,
            Self::AfterCommit(_) => Kind::Committed,
        }
    }

    /// The server's SQLSTATE, if the server gave one and it was kept.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        match self {
            Self::Pool(error) => error.sqlstate(),
            Self::Aborted(error) | Self::Conflict { last: error, .. } => {
                Some(error.sqlstate().clone())
            }
            Self::Query(error) | Self::CommitUnknown(error) | Self::CommitAborted(error) => {
                ServerError::behind(error)
                    .map(|error| error.sqlstate().clone())
                    .or_else(|| code_of(error))
            }
            Self::Config(_)
            | Self::Invalid(_)
            | Self::Migrations(_)
            | Self::Unfinished(_)
            | Self::Silent(_)
            | Self::AfterCommit(_)
            | Self::TimedOut { .. } => None,
        }
    }

    /// The error of the statement that failed.
    pub(crate) fn query(&self) -> Option<&QueryError> {
        match self {
            Self::Query(error) => Some(error),
            _ => None,
        }
    }

    /// Finds an error of this library inside the error that a closure returned, whatever its type.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            // diesel prints the error inside this variant, but does not return it from
            // `source()`.
            next = match error.downcast_ref::<QueryError>() {
                Some(QueryError::QueryBuilderError(inner)) => Some(&**inner),
                _ => error.source(),
            };
        }
        None
    }
}

/// Inside work that a helper runs, the error keeps what the server said, with the exact SQLSTATE.
impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        let said = CURRENT_CONNECTION
            .try_with(|observed| observed.last_error())
            .ok()
            .flatten();
        Self::Query(match said {
            Some(said) => said.put_into(error),
            None => error,
        })
    }
}

tokio::task_local! {
    /// The connection on which the current work runs.
    pub(crate) static CURRENT_CONNECTION: Arc<Observed>;
}

/// For closures that return `QueryResult`. A conflict becomes the diesel error of its last attempt. Errors
/// that diesel has no variant for travel in a box, where [`Error::find`] finds them.
impl From<Error> for QueryError {
    fn from(error: Error) -> Self {
        match error {
            Error::Query(error) => error,
            Error::Conflict { last, .. } => {
                let message = Box::new(last.message().to_owned());
                last.put_into(Self::DatabaseError(
                    DatabaseErrorKind::SerializationFailure,
                    message,
                ))
            }
            other => Self::QueryBuilderError(Box::new(other)),
        }
    }
}

/// The SQLSTATE of an error kind that diesel tells apart.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the service failed")]
    struct Service(#[source] QueryError);

    #[test]
    fn ours_is_found_inside_what_a_closure_returned() {
        let timed_out = || Error::TimedOut {
            after: Duration::from_secs(1),
            attempt: 2,
            during: Stage::Work,
            last_conflict: None,
        };
        let service = Service(QueryError::from(timed_out()));
        let found = Error::find(&service).unwrap();
        assert!(matches!(found, Error::TimedOut { attempt: 2, .. }));
        assert!(Error::find(&timed_out()).is_some());
        assert!(Error::find(&Service(QueryError::NotFound)).is_none());
    }

    #[test]
    fn a_query_error_survives_the_way_there_and_back() {
        let error = QueryError::from(Error::Query(QueryError::NotFound));
        assert_eq!(error, QueryError::NotFound);
        assert_eq!(Error::Query(error).kind(), Kind::Query);
    }
}
