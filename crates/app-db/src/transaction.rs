//! Transactions: described first, then run, again after a conflict.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use db_pool::{Connection, Observed, Observer, Pool};
use diesel::result::Error as QueryError;
use diesel_async::AnsiTransactionManager;
use tokio::time::{sleep, timeout};

use crate::attempt::{Attempt, Before, commit, has_ended, may_commit, roll_back};
use crate::backoff::Retry;
use crate::error::{AT_WORK, Error};
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

    /// A name for the slow-query log and for what is said of long holds.
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
                let (mut attempt, mut stale) = (1, 0);
                loop {
                    progress.attempt.store(attempt, Ordering::Relaxed);
                    let last = match this.attempt(work.clone(), caller, progress).await? {
                        Attempt::Done(value) => return Ok(value),
                        Attempt::Conflict(last) => last,
                        Attempt::Stale if stale < MAX_STALE => {
                            stale += 1;
                            continue;
                        }
                        Attempt::Stale => return Err(ended().into()),
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
                    attempt += 1;
                }
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
            progress.attempt.store(1, Ordering::Relaxed);
            let running = async {
                match self.attempt(work, caller, &progress).await? {
                    Attempt::Done(value) => Ok(value),
                    Attempt::Conflict(last) => Err(Error::Conflict { attempts: 1, last }.into()),
                    Attempt::Stale => Err(ended().into()),
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
        let before = Before::of(&observed);
        let working = AT_WORK.scope(Arc::clone(&observed), work(&mut conn));
        let working = self.pool.scope(caller, working);
        let value = match working.await {
            Ok(value) => value,
            Err(error) => {
                let outcome = before.failed(&observed);
                roll_back(&mut conn, &observed).await;
                return outcome.ok_or(error);
            }
        };
        if let Err(refusal) = may_commit(&mut conn, &observed, &before).await {
            let outcome = before.failed(&observed);
            roll_back(&mut conn, &observed).await;
            return outcome.ok_or(refusal.into());
        }
        progress.committing.store(true, Ordering::Relaxed);
        let outcome = commit(&mut conn, &observed).await;
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
            Err(unknown @ Error::CommitUnknown(_)) => Err(unknown.into()),
            Err(error) => before.failed(&observed).ok_or(error.into()),
        }
    }

    /// A connection with the transaction begun.
    async fn open(
        &self,
        caller: &'static Location<'static>,
    ) -> Result<(Connection, Arc<Observed>), Error> {
        for stale in 0.. {
            let mut conn = self.pool.get_for(caller).await?;
            let observed = Arc::clone(conn.observed());
            let errors = observed.errors();
            if let Some(observer) = Observer::of(&mut conn) {
                observer.set_label(self.label);
            }
            match AnsiTransactionManager::begin_transaction_sql(&mut *conn, &self.begin()).await {
                Ok(()) => return Ok((conn, observed)),
                // It ended while it was idle, without our noticing: nothing has run.
                Err(_ended) if has_ended(&observed, errors) && stale < MAX_STALE => {}
                Err(error) => {
                    let said = observed.last_error().filter(|_| observed.errors() > errors);
                    return Err(Error::Query(match said {
                        Some(said) => said.put_into(error),
                        None => error,
                    }));
                }
            }
        }
        unreachable!("the loop ends by returning")
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

/// What is said when connection after connection has ended before it was used.
fn ended() -> Error {
    let closed = diesel::result::DatabaseErrorKind::ClosedConnection;
    Error::Query(QueryError::DatabaseError(
        closed,
        Box::new("every connection had ended before its first statement".to_owned()),
    ))
}

/// How many connections in a row may turn out to have ended.
const MAX_STALE: u32 = 3;

/// How far a run has come, for whoever gives up on it.
#[derive(Debug, Default)]
struct Progress {
    attempt: AtomicU32,
    committing: AtomicBool,
}
