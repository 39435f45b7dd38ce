//! A COMMIT that travelled with the last statement of the work, because the work called
//! `and_commit`.

use std::any::{Any, type_name};
use std::error::Error as StdError;

use db_pool::plumbing::{Observed, Observer};
use db_pool::{Connection, TransactionStatus};
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel_async::{AnsiTransactionManager, TransactionManager};

use crate::error::Error;
use crate::transaction::after_commit::Left;

/// Whether the transaction was committed before its work was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EarlyCommit {
    None,
    Done,
    /// COMMIT was sent and has not been answered.
    Unknown,
}

impl EarlyCommit {
    pub(crate) fn of(observed: &Observed, before: u64) -> Self {
        if observed.is_committing() {
            Self::Unknown
        } else if observed.early_commits() != before {
            Self::Done
        } else {
            Self::None
        }
    }

    /// The state once the server has answered COMMIT; the work gets its rows before that.
    pub(crate) async fn once_answered(observed: &Observed, before: u64) -> Self {
        while observed.is_committing() && !observed.is_closed() {
            observed.settled().await;
        }
        Self::of(observed, before)
    }
}

/// The error for a COMMIT whose answer is lost with its connection.
pub(crate) fn outcome_is_lost(observed: &Observed) -> Error {
    Error::CommitUnknown(match observed.last_error() {
        Some(last_words) => {
            let message = Box::new(last_words.message().to_owned());
            let closed = DatabaseErrorKind::ClosedConnection;
            last_words.put_into(QueryError::DatabaseError(closed, message))
        }
        None => QueryError::BrokenTransactionManager,
    })
}

/// Ends a committed transaction. Also returns the actions that run after COMMIT.
pub(crate) async fn finish_early<T, E: From<Error> + 'static>(
    mut conn: Connection,
    observed: &Observed,
    worked: Result<T, E>,
) -> (Result<T, E>, Left) {
    let refused = observed.transaction_status() == TransactionStatus::Failed;
    // The wire answers this COMMIT itself, as the server has already had one.
    let _answered = AnsiTransactionManager::commit_transaction(&mut *conn).await;
    let left = Observer::of(&mut conn)
        .map(Observer::take_after_commit)
        .unwrap_or_default();
    let outcome = match worked {
        Ok(value) if !refused => Ok(value),
        Ok(_) => Err(match observed.last_error() {
            Some(refusal) => Error::AfterCommit(Box::new(refusal)).into(),
            None => Error::AfterCommit("a further statement was refused".into()).into(),
        }),
        Err(error) => Err(Error::AfterCommit(boxed(error)).into()),
    };
    (outcome, left)
}

/// The error of the work if its type is known, and otherwise the name of the type.
fn boxed<E: 'static>(error: E) -> Box<dyn StdError + Send + Sync> {
    let error: Box<dyn Any> = Box::new(error);
    let error = match error.downcast::<QueryError>() {
        Ok(query) => return query,
        Err(other) => other,
    };
    let error = match error.downcast::<Error>() {
        Ok(ours) => return ours,
        Err(other) => other,
    };
    match error.downcast::<Box<dyn StdError + Send + Sync>>() {
        Ok(inner) => *inner,
        Err(_unknown) => format!("the work returned a {}", type_name::<E>()).into(),
    }
}
