//! One attempt at a transaction: whether it may commit, how it ends, and whether another attempt may
//! follow.

use db_pool::plumbing;
use std::any::Any;
use std::error::Error as StdError;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use db_pool::plumbing::{Observed, Observer, Unresolved};
use db_pool::{Connection, ServerError, SqlState, TransactionStatus};
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel_async::{AnsiTransactionManager, TransactionManager};
use tokio::time::timeout;

use crate::error::Error;

/// The outcome of one attempt.
pub(crate) enum AttemptOutcome<T> {
    Done(T),
    Conflict(ServerError),
    /// The connection had ended before the first statement ran.
    Stale,
}

/// The counts of the wire before the work began.
pub(crate) struct Before {
    began: Instant,
    errors: u64,
    statements: u64,
    boundaries: u64,
    early_commits: u64,
}

impl Before {
    pub(crate) fn of(observed: &Observed) -> Self {
        Self {
            began: Instant::now(),
            errors: observed.errors(),
            statements: observed.statements(),
            boundaries: observed.boundaries(),
            early_commits: observed.early_commits(),
        }
    }

    pub(crate) fn early_commits(&self) -> u64 {
        self.early_commits
    }

    /// The reason to repeat a failed attempt, or `None`. `error` is the error that the work returned.
    ///
    /// A conflict that the work has rolled back to a savepoint is over. A later error is the work's own,
    /// unless it is the conflict itself: a nested transaction rolls back and passes its error on.
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
        // A nested transaction that has swallowed a failure only says that it cannot go on. The swallowed
        // failure is the conflict.
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
        // A session that ended while it was idle fails on first use. If a session ends in the middle of
        // the work, there is no second attempt: somebody may have ended it because of that work.
        let nothing_ran =
            observed.statements() == self.statements && self.began.elapsed() < AT_ONCE;
        (nothing_ran && has_ended(observed, self.errors)).then_some(AttemptOutcome::Stale)
    }
}

/// Whether the work's error is this server error. The check looks into the types that it knows.
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

/// Whether the connection has ended, or the server has announced its end since.
pub(crate) fn has_ended(observed: &Observed, errors: u64) -> bool {
    let fatal = || observed.last_error().is_some_and(|error| error.is_fatal());
    observed.is_closed() || (observed.errors() > errors && fatal())
}

/// The error when one connection after the other had ended before its first statement.
pub(crate) fn every_connection_ended() -> Error {
    let closed = DatabaseErrorKind::ClosedConnection;
    Error::Query(QueryError::DatabaseError(
        closed,
        Box::new("every connection had ended before its first statement".to_owned()),
    ))
}

/// Why a COMMIT did not succeed.
pub(crate) enum NotCommitted {
    /// The server found a conflict. Nothing was committed.
    Conflict(ServerError),
    Failed(Error),
}

/// Commits. An ERROR of the server means that nothing was committed. After any other failure the outcome
/// is unknown.
pub(crate) async fn commit(conn: &mut Connection, observed: &Observed) -> Result<(), NotCommitted> {
    if Observer::end_unbegun(conn) {
        return Ok(());
    }
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
        // The server may have committed the work and sent this FATAL while it waited for its
        // standby.
        Some(last_words) if last_words.is_for_idleness() => {
            NotCommitted::Failed(Error::Lost(last_words.put_into(error)))
        }
        Some(last_words) if last_words.is_fatal() => {
            NotCommitted::Failed(Error::CommitUnknown(last_words.put_into(error)))
        }
        Some(conflict) if conflict.is_conflict() => NotCommitted::Conflict(conflict),
        Some(refusal) => NotCommitted::Failed(Error::Query(refusal.put_into(error))),
        None => NotCommitted::Failed(Error::CommitUnknown(error)),
    })
}

/// Checks that a COMMIT would commit all of the work.
///
/// diesel counts every answer to COMMIT as a success, even ROLLBACK. If the work has left a nested
/// transaction open, diesel sends RELEASE SAVEPOINT instead of COMMIT.
pub(crate) async fn may_commit(
    conn: &mut Connection,
    observed: &Observed,
    before: &Before,
) -> Result<(), Error> {
    if plumbing::is_unfinished(conn) {
        return Err(Error::Unfinished("a statement of it was still running"));
    }
    let last = observed.last_statement().sent_at();
    if last.is_some_and(|sent| sent.elapsed() >= UNHEARD) {
        // The server may have ended the session while the work did something else. Its message is still in
        // the socket: yielding lets the runtime look there, and then lets the driver of the connection
        // read the message.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
    // The work may have received an error before the wire saw the ReadyForQuery that follows it, or have
    // taken the first of many rows.
    drain(observed).await;
    if observed.is_closed() {
        return Err(Error::Lost(lost(observed)));
    }
    if observed.is_working() {
        return Err(Error::Unfinished("a statement of it was still running"));
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

/// Waits for the rest of an answer for as long as more of it arrives.
async fn drain(observed: &Observed) {
    loop {
        let received = observed.bytes_received();
        let settled = timeout(DRAIN, observed.settled()).await.is_ok();
        if settled || observed.bytes_received() == received {
            return;
        }
    }
}

/// The error of a lost connection, with the server's last words if there are any.
fn lost(observed: &Observed) -> QueryError {
    let closed = Box::new("connection closed".to_owned());
    let error = QueryError::DatabaseError(DatabaseErrorKind::ClosedConnection, closed);
    match observed.last_error() {
        Some(last_words) if last_words.is_fatal() => last_words.put_into(error),
        _ => error,
    }
}

/// The error for work that began or ended transactions with its own SQL.
pub(crate) fn has_ended_itself(observed: &Observed, before: &Before) -> Option<Error> {
    (observed.boundaries() != before.boundaries).then_some(Error::Unfinished(ENDED))
}

/// Rolls back if there is something to roll back. If the ROLLBACK fails, the pool discards the connection
/// on its return, which rolls back too.
pub(crate) async fn roll_back(conn: &mut Connection, observed: &Observed) {
    let _in_time = timeout(SETTLE, observed.settled()).await;
    // ROLLBACK would wait behind a statement that nobody awaits. The pool cancels that statement
    // instead.
    if observed.is_closed() || observed.is_working() || plumbing::is_unfinished(conn) {
        return;
    }
    if let Err(error) = AnsiTransactionManager::rollback_transaction(&mut **conn).await {
        tracing::debug!(target: "app_db::transaction", %error, "a rollback failed; the connection is discarded");
    }
}

/// How the error describes a COMMIT or ROLLBACK that the work sent itself.
const ENDED: &str = "it had ended the transaction itself";

/// How long to wait for the rest of an answer after the work has received its beginning.
pub(crate) const SETTLE: Duration = Duration::from_millis(250);

/// How long an answer may pause before it counts as lost.
const DRAIN: Duration = Duration::from_secs(5);

/// If the last statement is older than this, the connection is checked before COMMIT.
const UNHEARD: Duration = Duration::from_millis(5);

/// How soon a statement fails if its session ended while idle.
const AT_ONCE: Duration = Duration::from_millis(100);
