//! A transaction that its caller holds.

use db_pool::plumbing;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use db_pool::plumbing::{GuardMark, Observed, Observer};
use db_pool::{Connection, Pool};
use diesel_async::AsyncPgConnection;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Span;

use crate::error::Error;
use crate::error::exhausted::Exhausted;
use crate::transaction::Transaction;
use crate::transaction::after_commit::run_all;
use crate::transaction::attempt::{
    AttemptOutcome, Before, SETTLE, every_connection_ended, roll_back,
};
use crate::transaction::conclusion::Conclusion;
use crate::transaction::early_commit::{EarlyCommit, finish_early, outcome_is_lost};
use crate::transaction::progress::TransactionProgress;
use crate::transaction::span;

/// A transaction that is open until its holder commits it; see [`Transaction::begin`].
///
/// It dereferences to `AsyncPgConnection`. diesel's transactions inside it are savepoints. If it is dropped, the
/// pool rolls it back in the background and takes the connection back.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct OpenTransaction {
    /// Taken only when the transaction ends.
    conn: Option<Connection>,
    mark: GuardMark,
    observed: Arc<Observed>,
    before: Before,
    pool: Pool,
    caller: &'static Location<'static>,
    resolves_commit: bool,
    progress: TransactionProgress,
    /// How long the transaction may take, and until when.
    bound: Option<(Duration, Instant)>,
    span: Span,
}

impl Transaction<'_> {
    /// Begins the transaction and returns it. Nothing runs it again, so `attempts` has no effect.
    ///
    /// Use it if a closure is in the way. If code asks the same pool for another connection while the transaction is
    /// open, none is free, and no statement of the transaction is running, the pool refuses it as inside
    /// [`Transaction::run`].
    ///
    /// # Errors
    ///
    /// [`Error::Pool`], [`Error::Invalid`], [`Error::TimedOut`], and [`Error::Query`] for BEGIN.
    ///
    /// Dropping the future loses nothing. BEGIN costs no round trip if it travels with the first statement.
    #[track_caller]
    pub fn begin(self) -> impl Future<Output = Result<OpenTransaction, Error>> + Send {
        let caller = Location::caller();
        async move {
            let bound = self.timeout.zip(self.deadline());
            let progress = TransactionProgress::new();
            let span = span::begin(self.pool, self.label);
            let opening = self.open(caller, &progress);
            let (mut conn, observed) = self.bounded(&progress, opening).await?;
            if let Some(observer) = Observer::of(&mut conn) {
                observer.set_attempt(progress.attempt());
                if self.resolves_commit {
                    observer.keep_commit();
                }
            }
            progress.works_on(&observed);
            Ok(OpenTransaction {
                mark: plumbing::guard(self.pool, &conn),
                before: Before::of(&observed),
                pool: self.pool.clone(),
                caller,
                resolves_commit: self.resolves_commit,
                conn: Some(conn),
                observed,
                progress,
                bound,
                span,
            })
        }
    }
}

impl OpenTransaction {
    /// Commits. Then the actions of [`after_commit`](crate::ConnectionExt::after_commit) run.
    ///
    /// # Errors
    ///
    /// As [`Transaction::run_once`], which does the same at its end: [`Error::Conflict`] with `attempts: 1`,
    /// [`Error::Aborted`] if a statement had failed, [`Error::Unfinished`], [`Error::CommitUnknown`]. The
    /// transaction is rolled back then, unless its outcome is unknown. [`Error::TimedOut`] says that the
    /// transaction's timeout was over before COMMIT; that timeout does not end a statement.
    ///
    /// Dropping the future rolls back, unless COMMIT was already sent.
    pub async fn commit(mut self) -> Result<(), Error> {
        let Some(mut conn) = self.conn.take() else {
            return Ok(());
        };
        if let Some((after, deadline)) = self.bound
            && Instant::now() >= deadline
        {
            let timed_out = self.progress.timed_out(after);
            roll_back(&mut conn, &self.observed).await;
            return Err(timed_out);
        }
        let concluding = async {
            let conclusion = Conclusion {
                pool: &self.pool,
                caller: self.caller,
                resolves_commit: self.resolves_commit,
            };
            let (observed, before) = (&self.observed, &self.before);
            match EarlyCommit::once_answered(observed, before.early_commits()).await {
                EarlyCommit::None => {}
                EarlyCommit::Done => {
                    let (outcome, left) = finish_early(conn, observed, Ok(())).await;
                    run_all(left);
                    return outcome;
                }
                EarlyCommit::Unknown => return Err(outcome_is_lost(observed)),
            }
            let concluding = conclusion.reach(conn, observed, before, &self.progress);
            match concluding.await? {
                AttemptOutcome::Done(()) => Ok(()),
                AttemptOutcome::Conflict(conflict) => Err(Error::Conflict {
                    attempts: 1,
                    exhausted: Exhausted::Attempts,
                    first: conflict.clone(),
                    last: conflict,
                }),
                AttemptOutcome::Stale => Err(every_connection_ended()),
            }
        };
        let bounded = async {
            let Some((after, deadline)) = self.bound else {
                return concluding.await;
            };
            match timeout_at(deadline, concluding).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => Err(self.progress.timed_out(after)),
            }
        };
        span::ended(bounded, self.span.clone(), &self.progress).await
    }

    /// Rolls back, and waits for the end of the ROLLBACK. Dropping the transaction rolls back in the background.
    ///
    /// It cannot undo a COMMIT that has travelled with a statement
    /// ([`and_commit`](crate::ConnectionExt::and_commit)).
    ///
    /// Dropping the future closes the connection, which rolls back too.
    pub async fn rollback(mut self) {
        if let Some(conn) = self.conn.take() {
            take_back(conn, &self.observed, self.before.early_commits()).await;
        }
    }

    #[expect(clippy::expect_used, reason = "taken by what consumes it alone")]
    fn conn(&self) -> &Connection {
        self.conn.as_ref().expect("there until the end")
    }
}

impl Deref for OpenTransaction {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        self.conn()
    }
}

impl DerefMut for OpenTransaction {
    #[expect(clippy::expect_used, reason = "taken by what consumes it alone")]
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        self.mark.used();
        self.conn.as_mut().expect("there until the end")
    }
}

impl fmt::Debug for OpenTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTransaction")
            .field("conn", &self.conn)
            .finish_non_exhaustive()
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else {
            return;
        };
        if std::thread::panicking() {
            // The panic may have left the connection in any state, so the connection is dropped too.
            return;
        }
        let observed = Arc::clone(&self.observed);
        let before = self.before.early_commits();
        plumbing::spawn(&self.pool, async move {
            take_back(conn, &observed, before).await;
        });
    }
}

/// Ends a transaction that its holder has not committed. Its last statement may have committed it.
async fn take_back(mut conn: Connection, observed: &Observed, early_commits_before: u64) {
    let answered = EarlyCommit::once_answered(observed, early_commits_before);
    match timeout(SETTLE, answered).await {
        Ok(EarlyCommit::None) => roll_back(&mut conn, observed).await,
        Ok(EarlyCommit::Done) => {
            let (_outcome, left) = finish_early(conn, observed, Ok::<(), Error>(())).await;
            run_all(left);
        }
        // The pool does not keep a connection with an open COMMIT.
        Ok(EarlyCommit::Unknown) | Err(_) => {}
    }
}
