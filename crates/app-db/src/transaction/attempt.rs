//! One attempt at a transaction: when it may commit, how it ends, and whether it may be made again.

use db_pool::plumbing;
use std::any::Any;
use std::error::Error as StdError;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use db_pool::plumbing::{Observed, Unresolved};
use db_pool::{Connection, ServerError, SqlState, TransactionStatus};
use diesel::result::Error as QueryError;
use diesel_async::{AnsiTransactionManager, TransactionManager};
use tokio::time::timeout;

use crate::error::Error;

/// What became of one attempt.
pub(crate) enum AttemptOutcome<T> {
    Done(T),
    Conflict(ServerError),
    /// The connection had ended before the first statement ran.
    Stale,
}

/// What the wire had counted before the work began.
pub(crate) struct Before {
    began: Instant,
    errors: u64,
    statements: u64,
    boundaries: u64,
}

impl Before {
    pub(crate) fn of(observed: &Observed) -> Self {
        Self {
            began: Instant::now(),
            errors: observed.errors(),
            statements: observed.statements(),
            boundaries: observed.boundaries(),
        }
    }

    /// Why a failed attempt may be made again, if it may: `error` is what its work returned.
    ///
    /// A conflict that the work has rolled back to a savepoint is over, and what the work returns then is its
    /// own, unless that is the conflict itself: a nested transaction passes on what it has rolled back.
    pub(crate) fn failed<T>(
        &self,
        observed: &Observed,
        error: &dyn Any,
    ) -> Option<AttemptOutcome<T>> {
        if let Some(failure) = observed.unresolved().filter(Unresolved::is_repeatable) {
            return Some(AttemptOutcome::Conflict(failure.error().clone()));
        }
        let last = observed
            .last_error()
            .filter(|last| observed.errors() > self.errors && passes_on(error, last));
        // What a nested transaction says that has swallowed its failure is that it cannot go on.
        let conflict = match last {
            Some(last) if *last.sqlstate() == SqlState::IN_FAILED_SQL_TRANSACTION => observed
                .resolved()
                .filter(Unresolved::is_repeatable)
                .map(|failure| failure.error().clone()),
            last => last.filter(ServerError::is_conflict),
        };
        if let Some(conflict) = conflict {
            return Some(AttemptOutcome::Conflict(conflict));
        }
        // A session that ended while it was idle says so as soon as it is spoken to. One that was ended in
        // its work does not come back: somebody may have ended it for that work.
        let nothing_ran =
            observed.statements() == self.statements && self.began.elapsed() < AT_ONCE;
        (nothing_ran && has_ended(observed, self.errors)).then_some(AttemptOutcome::Stale)
    }
}

/// Whether a work's error is this one of the server's, as far as its type can be looked into.
fn passes_on(error: &dyn Any, said: &ServerError) -> bool {
    let query = if let Some(error) = error.downcast_ref::<QueryError>() {
        Some(error)
    } else if let Some(error) = error.downcast_ref::<Error>() {
        error.query()
    } else if let Some(error) = error.downcast_ref::<Box<dyn StdError + Send + Sync>>() {
        let found = Error::find(&**error).and_then(Error::query);
        found.or_else(|| error.downcast_ref::<QueryError>())
    } else {
        None
    };
    matches!(query, Some(QueryError::DatabaseError(_, info)) if info.message() == said.message())
}

/// Whether the connection has ended, or the server has said since that it ends it.
pub(crate) fn has_ended(observed: &Observed, errors: u64) -> bool {
    let fatal = || observed.last_error().is_some_and(|error| error.is_fatal());
    observed.is_closed() || (observed.errors() > errors && fatal())
}

/// Why a COMMIT was no success.
pub(crate) enum NotCommitted {
    /// It found a conflict: nothing was committed.
    Conflict(ServerError),
    Failed(Error),
}

/// Commits; an ERROR of the server means that nothing was, anything else that nobody knows.
pub(crate) async fn commit(conn: &mut Connection, observed: &Observed) -> Result<(), NotCommitted> {
    let (errors, refused) = (observed.errors(), observed.refused_commits());
    let Err(error) = AnsiTransactionManager::commit_transaction(&mut **conn).await else {
        if observed.refused_commits() == refused {
            return Ok(());
        }
        return Err(NotCommitted::Failed(match observed.last_error() {
            Some(failure) => Error::Aborted(failure),
            None => Error::Unfinished("the server rolled it back"),
        }));
    };
    let refusal = (observed.errors() > errors)
        .then(|| observed.last_error())
        .flatten();
    Err(match refusal {
        // A FATAL may have come while the server waited for its standby, with the work committed.
        Some(last_words) if last_words.is_fatal() => {
            NotCommitted::Failed(Error::CommitUnknown(last_words.put_into(error)))
        }
        Some(conflict) if conflict.is_conflict() => NotCommitted::Conflict(conflict),
        Some(refusal) => NotCommitted::Failed(Error::Query(refusal.put_into(error))),
        None => NotCommitted::Failed(Error::CommitUnknown(error)),
    })
}

/// Whether the work's success is one that COMMIT makes true.
///
/// diesel takes every answer to COMMIT for a success, ROLLBACK too, and sends RELEASE SAVEPOINT in its
/// place where the work has left a nested transaction open.
pub(crate) async fn may_commit(
    conn: &mut Connection,
    observed: &Observed,
    before: &Before,
) -> Result<(), Error> {
    if plumbing::is_unfinished(conn) {
        return Err(Error::Unfinished("a statement of it was still running"));
    }
    // An error may have reached the work before the ReadyForQuery that belongs to it reached us.
    let _in_time = timeout(SETTLE, observed.settled()).await;
    if observed.is_working() {
        return Err(Error::Unfinished("a statement of it was still running"));
    }
    if observed.is_closed() {
        return Err(match observed.last_error() {
            Some(error) if error.is_fatal() => Error::Aborted(error),
            _ => Error::Query(QueryError::BrokenTransactionManager),
        });
    }
    if let Some(ended) = has_ended_itself(observed, before) {
        return Err(ended);
    }
    let status = AnsiTransactionManager::transaction_manager_status_mut(&mut **conn);
    let depth = status
        .transaction_depth()
        .ok()
        .flatten()
        .map(NonZeroU32::get);
    match (observed.transaction_status(), depth) {
        (TransactionStatus::InTransaction, Some(1)) => Ok(()),
        (TransactionStatus::Failed, _) => Err(match observed.last_error() {
            Some(error) => Error::Aborted(error),
            None => Error::Query(QueryError::BrokenTransactionManager),
        }),
        (TransactionStatus::InTransaction, _) => {
            Err(Error::Unfinished("a nested transaction of it was open"))
        }
        _ => Err(Error::Unfinished(ENDED)),
    }
}

/// What is said of a work that began or ended transactions in its own words.
pub(crate) fn has_ended_itself(observed: &Observed, before: &Before) -> Option<Error> {
    (observed.boundaries() != before.boundaries).then_some(Error::Unfinished(ENDED))
}

/// Rolls back where there is something to roll back; a connection on which that fails is discarded at
/// its return, which rolls back as well.
pub(crate) async fn roll_back(conn: &mut Connection, observed: &Observed) {
    let _in_time = timeout(SETTLE, observed.settled()).await;
    // ROLLBACK would queue behind a statement that nobody waits for; the pool cancels it instead.
    if observed.is_closed() || observed.is_working() || plumbing::is_unfinished(conn) {
        return;
    }
    if let Err(error) = AnsiTransactionManager::rollback_transaction(&mut **conn).await {
        tracing::debug!(%error, "a rollback failed; the connection is discarded");
    }
}

/// What a COMMIT or ROLLBACK in the work's own words is called.
const ENDED: &str = "it had ended the transaction itself";

/// How long the rest of an answer may take whose beginning the work has had.
const SETTLE: Duration = Duration::from_millis(250);

/// How soon the end of an idle session shows when it is used.
const AT_ONCE: Duration = Duration::from_millis(100);
