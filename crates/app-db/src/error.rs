//! What can go wrong around the caller's own work.

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

/// What the helpers of [`Database`](crate::Database) report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The transaction was described in a way that cannot be meant, of which all is told at once; nothing was done.
    #[error("the transaction cannot be run")]
    Invalid(#[from] InvalidOptions),
    /// There was no connection to be had.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A statement failed.
    #[error("the query failed")]
    Query(#[source] QueryError),
    /// A statement failed, the work ignored it and returned a success that the server cannot commit.
    #[error("the work succeeded although a statement in it had failed, and was rolled back")]
    Aborted(#[source] ServerError),
    /// The work returned a success that the helper cannot make true: a statement of it was still running, a
    /// nested transaction of it was open, or it had ended the transaction itself.
    ///
    /// The helper has committed nothing; what the work's own COMMIT has, stays.
    #[error("the work returned a success while {0}; the helper has committed nothing")]
    Unfinished(&'static str),
    /// The transaction conflicted with others on every attempt, and there was no other one to be had.
    #[error("gave up after {attempts} attempts that conflicted with other transactions{exhausted}")]
    Conflict {
        /// How often it was tried.
        attempts: u32,
        /// What was used up.
        exhausted: Exhausted,
        /// The conflict that ended the first attempt.
        first: ServerError,
        /// The conflict that ended the last attempt.
        #[source]
        last: ServerError,
    },
    /// The connection was lost while COMMIT was on its way: the work may or may not be there.
    ///
    /// Never retried. A caller finds out by looking for what it wrote, or has it found out with
    /// [`Transaction::resolve_commit`](crate::Transaction::resolve_commit).
    #[error("the connection was lost during COMMIT, so that its outcome is unknown")]
    CommitUnknown(#[source] QueryError),
    /// The connection was lost while COMMIT was on its way, and the server said afterwards that it had rolled
    /// the transaction back: running it again does nothing twice.
    #[error("the connection was lost during COMMIT, and the server has rolled back")]
    CommitAborted(#[source] QueryError),
    /// A connection did not answer a probe in time.
    #[error("no answer to a probe within {0:?}")]
    Silent(Duration),
    /// The time given to the transaction as a whole was up; it was rolled back.
    #[error("the transaction was not done within {after:?}, {during} on attempt {attempt}")]
    TimedOut {
        /// The time given.
        after: Duration,
        /// The attempt that was running.
        attempt: u32,
        /// What it was doing.
        during: Stage,
        /// The conflict that ended the attempt before it.
        #[source]
        last_conflict: Option<ServerError>,
    },
}

impl Error {
    /// Whose fault it is, and therefore what to do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Config(_) | Self::Invalid(_) => Kind::Configuration,
            Self::Pool(error) => error.kind(),
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
        }
    }

    /// The server's SQLSTATE, where the server gave one that was kept.
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
            | Self::Unfinished(_)
            | Self::Silent(_)
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

    /// Finds the error of this library inside whatever error a closure returned.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            // diesel shows the box in this variant as text only, not as a source.
            next = match error.downcast_ref::<QueryError>() {
                Some(QueryError::QueryBuilderError(inner)) => Some(&**inner),
                _ => error.source(),
            };
        }
        None
    }
}

/// Inside the work of a helper the error keeps what the server said, exact SQLSTATE included.
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
    /// The connection that the work in progress runs on.
    pub(crate) static CURRENT_CONNECTION: Arc<Observed>;
}

/// For closures that return `QueryResult`: a conflict becomes the diesel error of its last attempt, and
/// what diesel has no word for travels in a box where [`Error::find`] finds it.
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

/// The codes that diesel keeps apart.
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
