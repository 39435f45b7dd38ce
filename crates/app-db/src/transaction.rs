//! Transactions: described first, then run, again after a conflict.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use db_pool::{Connection, Observed, Observer, Pool, ServerError, TransactionStatus};
use diesel::result::Error as QueryError;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use tokio::time::{sleep, timeout};

use crate::backoff::Retry;
use crate::error::Error;
use crate::work::Work;

/// A transaction being described.
#[derive(Clone, Debug)]
#[must_use = "a transaction does nothing until it is run"]
pub struct Transaction<'db> {
    pool: &'db Pool,
    retry: Retry,
    isolation: Option<&'static str>,
    access: &'static str,
    deferrable: bool,
    timeout: Option<Duration>,
    label: Option<&'static str>,
}

impl<'db> Transaction<'db> {
    pub(crate) fn new(pool: &'db Pool, retry: Retry) -> Self {
        Self {
            pool,
            retry,
            isolation: None,
            access: "READ WRITE",
            deferrable: false,
            timeout: None,
            label: None,
        }
    }

    /// `ISOLATION LEVEL SERIALIZABLE`: as if transactions ran one after the other.
    pub fn serializable(mut self) -> Self {
        self.isolation = Some("SERIALIZABLE");
        self
    }

    /// `ISOLATION LEVEL REPEATABLE READ`: one snapshot for every statement.
    pub fn repeatable_read(mut self) -> Self {
        self.isolation = Some("REPEATABLE READ");
        self
    }

    /// `READ ONLY`: writing fails with 25006. Stays on the pool it was begun on.
    pub fn read_only(mut self) -> Self {
        self.access = "READ ONLY";
        self
    }

    /// `DEFERRABLE`: a serializable read-only transaction waits until it cannot conflict.
    pub fn deferrable(mut self) -> Self {
        self.deferrable = true;
        self
    }

    /// How often it is tried at most when it conflicts; at least once.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.retry.attempts = attempts.max(1);
        self
    }

    /// How long it may take as a whole: waiting for a connection, every attempt, every delay.
    pub fn timeout(mut self, bound: Duration) -> Self {
        self.timeout = Some(bound);
        self
    }

    /// A name for the slow-query log.
    pub fn label(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Runs the work in a transaction, and again when it conflicts with another (40001, 40P01), also
    /// when the conflict appears at COMMIT.
    ///
    /// Each attempt runs a clone of `work` on a transaction of its own, after a random delay. The
    /// transaction commits when the work returns `Ok` and rolls back when it returns `Err`.
    ///
    /// # Errors
    ///
    /// The work's own; and through `E: From<Error>` [`Error::Pool`], [`Error::Conflict`],
    /// [`Error::Aborted`], [`Error::CommitUnknown`], [`Error::TimedOut`] and [`Error::Query`] of BEGIN
    /// and COMMIT.
    ///
    /// Dropping the future cancels the statement on the server and rolls back, unless COMMIT was on its
    /// way already. Costs two round trips beside those of the work.
    #[track_caller]
    pub fn run<T, E>(
        self,
        work: impl Work<T, E> + Clone,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<Error> + Send,
    {
        let caller = Location::caller();
        async move {
            let (this, progress) = (&self, &Progress::default());
            let attempts = this.retry.attempts;
            let running = async move {
                for attempt in 1.. {
                    progress.attempt.store(attempt, Ordering::Relaxed);
                    let last = match this.attempt(work.clone(), caller, progress).await? {
                        Attempt::Done(value) => return Ok(value),
                        Attempt::Conflict(last) => last,
                    };
                    if attempt >= attempts {
                        return Err(Error::Conflict {
                            attempts: attempt,
                            last,
                        }
                        .into());
                    }
                    let delay = this.retry.delay(attempt);
                    tracing::debug!(
                        label = this.label,
                        attempt,
                        sqlstate = last.sqlstate().code(),
                        delay_ms = delay.as_millis() as u64,
                        "a transaction conflicted and is tried again"
                    );
                    sleep(delay).await;
                }
                unreachable!("the loop ends by returning")
            };
            this.bounded(progress, running).await
        }
    }

    /// Runs the work in a transaction exactly once; for work that cannot be repeated.
    ///
    /// # Errors
    ///
    /// As [`Transaction::run`]; a conflict is reported with `attempts: 1`.
    ///
    /// Dropping the future does the same as there.
    #[track_caller]
    pub fn run_once<T, E>(self, work: impl Work<T, E>) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<Error> + Send,
    {
        let caller = Location::caller();
        async move {
            let progress = Progress::default();
            let running = async {
                match self.attempt(work, caller, &progress).await? {
                    Attempt::Done(value) => Ok(value),
                    Attempt::Conflict(last) => Err(Error::Conflict { attempts: 1, last }.into()),
                }
            };
            self.bounded(&progress, running).await
        }
    }

    async fn bounded<T, E: From<Error>>(
        &self,
        progress: &Progress,
        running: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(bound) = self.timeout else {
            return running.await;
        };
        match timeout(bound, running).await {
            Ok(outcome) => outcome,
            Err(_elapsed) if progress.committing.load(Ordering::Relaxed) => {
                let lost = QueryError::BrokenTransactionManager;
                Err(Error::CommitUnknown(lost).into())
            }
            Err(_elapsed) => Err(Error::TimedOut {
                after: bound,
                attempt: progress.attempt.load(Ordering::Relaxed),
            }
            .into()),
        }
    }

    async fn attempt<T, E: From<Error>>(
        &self,
        work: impl Work<T, E>,
        caller: &'static Location<'static>,
        progress: &Progress,
    ) -> Result<Attempt<T>, E> {
        let (mut conn, observed) = self.open(caller).await?;
        // A statement that was prepared before a table changed has not run either.
        let repeatable = || observed.conflicts() + observed.stale_statements();
        let conflicts = repeatable();
        let conflicted = || {
            (repeatable() > conflicts)
                .then(|| observed.last_error())
                .flatten()
        };

        let value = match work(&mut conn).await {
            Ok(value) => value,
            Err(error) => {
                let conflict = conflicted();
                roll_back(&mut conn, &observed).await;
                return conflict.map_or(Err(error), |last| Ok(Attempt::Conflict(last)));
            }
        };
        // An error may have reached the work before the ReadyForQuery that belongs to it reached us.
        observed.settled().await;
        // The server has the last word: COMMIT of a failed transaction would answer ROLLBACK, which
        // diesel takes for a success.
        if observed.transaction_status() == TransactionStatus::Failed {
            let conflict = conflicted();
            let failure = observed.last_error();
            roll_back(&mut conn, &observed).await;
            return match (conflict, failure) {
                (Some(last), _) => Ok(Attempt::Conflict(last)),
                (None, Some(failure)) => Err(Error::Aborted(failure).into()),
                (None, None) => Err(Error::Query(QueryError::BrokenTransactionManager).into()),
            };
        }
        progress.committing.store(true, Ordering::Relaxed);
        let outcome = self.commit(&mut conn, &observed).await;
        progress.committing.store(false, Ordering::Relaxed);
        match outcome {
            Ok(()) => {
                let left = Observer::of(&mut conn)
                    .map(Observer::take_after_commit)
                    .unwrap_or_default();
                // The connection goes back first: what follows is the caller's own code.
                drop(conn);
                left.into_iter().for_each(|action| action());
                Ok(Attempt::Done(value))
            }
            Err(error) => match conflicted() {
                Some(last) if !matches!(error, Error::CommitUnknown(_)) => {
                    Ok(Attempt::Conflict(last))
                }
                _ => Err(error.into()),
            },
        }
    }

    /// A connection with the transaction begun.
    ///
    /// A connection may end while it is idle, without our noticing before BEGIN does: nothing has run
    /// then, and another one is taken.
    async fn open(
        &self,
        caller: &'static Location<'static>,
    ) -> Result<(Connection, Arc<Observed>), Error> {
        for stale in 0.. {
            let mut conn = self.pool.get_for(caller).await?;
            let observed = Arc::clone(conn.observed());
            if let Some(observer) = Observer::of(&mut conn) {
                observer.set_label(self.label);
            }
            match AnsiTransactionManager::begin_transaction_sql(&mut *conn, &self.begin()).await {
                Ok(()) => return Ok((conn, observed)),
                Err(_ended) if observed.is_closed() && stale < MAX_STALE => {}
                Err(error) => return Err(Error::Query(error)),
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Commits; an ERROR of the server means that nothing was, anything else that nobody knows.
    async fn commit(&self, conn: &mut Connection, observed: &Observed) -> Result<(), Error> {
        let errors = observed.errors();
        let refused = observed.refused_commits();
        let Err(error) = AnsiTransactionManager::commit_transaction(&mut **conn).await else {
            return match observed.last_error() {
                Some(failure) if observed.refused_commits() > refused => {
                    Err(Error::Aborted(failure))
                }
                _ => Ok(()),
            };
        };
        let refusal = (observed.errors() > errors)
            .then(|| observed.last_error())
            .flatten();
        match refusal {
            // A FATAL may have come while the server waited for its standby, with the work committed.
            Some(refusal) if !refusal.is_fatal() => Err(Error::Query(error)),
            _ => Err(Error::CommitUnknown(error)),
        }
    }

    fn begin(&self) -> String {
        let mut sql = String::from("BEGIN TRANSACTION");
        if let Some(isolation) = self.isolation {
            sql.push_str(" ISOLATION LEVEL ");
            sql.push_str(isolation);
        }
        sql.push(' ');
        sql.push_str(self.access);
        if self.deferrable {
            sql.push_str(" DEFERRABLE");
        }
        sql
    }
}

/// How many connections in a row may turn out to have ended.
const MAX_STALE: u32 = 3;

/// How far a run has come, for whoever gives up on it.
#[derive(Debug, Default)]
struct Progress {
    attempt: AtomicU32,
    committing: AtomicBool,
}

enum Attempt<T> {
    Done(T),
    Conflict(ServerError),
}

/// Rolls back where there is something to roll back; a connection on which that fails is discarded at
/// its return, which rolls back as well.
async fn roll_back(conn: &mut AsyncPgConnection, observed: &Observed) {
    if observed.is_closed() {
        return;
    }
    if let Err(error) = AnsiTransactionManager::rollback_transaction(conn).await {
        tracing::debug!(%error, "a rollback failed; the connection is discarded");
    }
}
