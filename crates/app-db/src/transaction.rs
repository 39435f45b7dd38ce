//! Transactions: the caller describes one and runs it, and a conflict makes it run again.

pub(crate) mod after_commit;
pub(crate) mod attempt;
pub(crate) mod budget;
pub(crate) mod conclusion;
pub(crate) mod early_commit;
pub(crate) mod open_transaction;
pub(crate) mod options;
pub(crate) mod progress;
pub(crate) mod resolution;
pub(crate) mod retries;
pub(crate) mod retry;
pub(crate) mod span;
pub(crate) mod test_transaction;

use db_pool::plumbing;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use db_pool::plumbing::{Observed, Observer};
use db_pool::{Connection, Pool};
use diesel_async::AnsiTransactionManager;
use tokio::time::{Instant, sleep, timeout};

use crate::error::Error;
use crate::error::conversions::CURRENT_CONNECTION;
use crate::error::exhausted::Exhausted;
use crate::error::invalid_options::{InvalidOption, InvalidOptions};
use crate::error::stage::Stage;
use crate::transaction::attempt::{
    AttemptOutcome, Before, every_connection_ended, has_ended, roll_back,
};
use crate::transaction::budget::RetryBudget;
use crate::transaction::conclusion::Conclusion;
use crate::transaction::early_commit::{EarlyCommit, finish_early, outcome_is_lost};
use crate::transaction::options::{Options, some_label, some_time};
use crate::transaction::progress::TransactionProgress;
use crate::transaction::retries::Retries;
use crate::transaction::retry::Retry;
use crate::work::Work;

/// The description of a transaction, which can be run.
#[derive(Clone, Debug)]
#[must_use = "a transaction does nothing until it is run"]
pub struct Transaction<'db> {
    pool: &'db Pool,
    retry: Retry,
    budget: &'db RetryBudget,
    options: Options,
    timeout: Option<Duration>,
    label: Option<&'static str>,
    resolves_commit: bool,
    /// The invalid options. Running the transaction reports them.
    invalid: InvalidOptions,
}

impl<'db> Transaction<'db> {
    pub(crate) fn new(pool: &'db Pool, retry: Retry, budget: &'db RetryBudget) -> Self {
        Self {
            pool,
            retry,
            budget,
            options: Options::of(pool.profile().read_only),
            timeout: None,
            label: None,
            resolves_commit: false,
            invalid: InvalidOptions::default(),
        }
    }

    /// `ISOLATION LEVEL SERIALIZABLE`: as if transactions ran one after the other.
    pub fn serializable(mut self) -> Self {
        self.options.isolation = Some("SERIALIZABLE");
        self
    }

    /// `ISOLATION LEVEL REPEATABLE READ`: one snapshot for every statement.
    pub fn repeatable_read(mut self) -> Self {
        self.options.isolation = Some("REPEATABLE READ");
        self
    }

    /// `READ ONLY`: writing fails with 25006. The transaction stays on the pool that it was created
    /// for.
    pub fn read_only(mut self) -> Self {
        self.options.access = "READ ONLY";
        self
    }

    /// `DEFERRABLE`: a serializable read-only transaction waits until it cannot conflict.
    pub fn deferrable(mut self) -> Self {
        self.options.deferrable = true;
        self
    }

    /// The most attempts for a transaction that conflicts. 0 is refused.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.retry.attempts = attempts;
        if attempts == 0 {
            self.invalid.add(InvalidOption::NoAttempts);
        }
        self
    }

    /// How long everything together may take: the wait for a connection, every attempt, every delay.
    /// Zero is refused.
    pub fn timeout(mut self, bound: Duration) -> Self {
        self.timeout = self.accept(some_time("timeout", bound));
        self
    }

    /// How long each statement may take on the server: `SET LOCAL statement_timeout`, in whole
    /// milliseconds. A statement that takes longer fails with 57014. Zero is refused.
    ///
    /// It costs no round trip if BEGIN travels with the first statement.
    pub fn statement_timeout(mut self, bound: Duration) -> Self {
        self.options.statement_timeout = self.accept(some_time("statement_timeout", bound));
        self
    }

    /// How long each statement may wait for a lock: `SET LOCAL lock_timeout`, in whole milliseconds. A
    /// statement that waits longer fails with 55P03. Zero is refused.
    ///
    /// It costs no round trip if BEGIN travels with the first statement.
    pub fn lock_timeout(mut self, bound: Duration) -> Self {
        self.options.lock_timeout = self.accept(some_time("lock_timeout", bound));
        self
    }

    /// A name for the slow-query log and for reports of long holds. A label with control characters, or
    /// of more than 200 bytes, is refused.
    pub fn label(mut self, label: &'static str) -> Self {
        self.label = self.accept(some_label(label));
        self
    }

    /// If the answer to COMMIT is lost, asks the server what became of the transaction.
    ///
    /// The result is `Ok` if it was committed and [`Error::CommitAborted`] if it was rolled back. It is
    /// [`Error::CommitUnknown`] only if the server cannot be asked within ten seconds, if another
    /// server has taken its place, or if the server crashed meanwhile and its records no longer
    /// distinguish this transaction from a later one. [`Transaction::timeout`] also bounds these
    /// questions.
    ///
    /// It costs one round trip before COMMIT, in which the transaction gets its id. Even a transaction
    /// that writes nothing uses up an id. It needs PostgreSQL 13.
    pub fn resolve_commit(mut self) -> Self {
        self.resolves_commit = true;
        self
    }

    fn accept<O>(&mut self, option: Result<O, InvalidOption>) -> Option<O> {
        match option {
            Ok(option) => Some(option),
            Err(refused) => {
                self.invalid.add(refused);
                None
            }
        }
    }

    /// Runs the work in a transaction, and runs it again if it conflicts with another one (40001,
    /// 40P01). A conflict that appears only at COMMIT counts too.
    ///
    /// Each attempt runs a clone of `work` in a new transaction; before another attempt it waits for a
    /// random time. The transaction commits if the work returns `Ok`, and rolls back if the work
    /// returns `Err`.
    ///
    /// The server decides what a conflict is; the error that the work makes of it does not matter. A
    /// conflict that the work has rolled back to a savepoint is over. It counts again only if the work
    /// returns that same error, or the 25P02 of a nested transaction that swallowed it. The helper
    /// recognises both in a diesel error, in [`Error`], and in a box with either.
    ///
    /// # Errors
    ///
    /// The errors of the work. Through `E: From<Error>` also [`Error::Pool`], [`Error::Conflict`],
    /// [`Error::Aborted`], [`Error::Unfinished`], [`Error::CommitUnknown`], [`Error::TimedOut`],
    /// [`Error::Invalid`], and [`Error::Query`] for BEGIN and COMMIT.
    ///
    /// Dropping the future cancels the statement on the server and rolls back, unless COMMIT was
    /// already sent. It costs two more round trips than the work itself.
    #[track_caller]
    pub fn run<T, E>(
        self,
        work: impl Work<T, E> + Clone,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<Error> + Send + 'static,
    {
        let caller = Location::caller();
        async move {
            let (this, progress) = (&self, &TransactionProgress::new());
            let running = async move {
                let mut retries = Retries::new(this.retry, this.budget, this.deadline());
                let mut stale = 0;
                loop {
                    let conflict = match this.attempt(work.clone(), caller, progress).await? {
                        AttemptOutcome::Done(value) => {
                            retries.committed();
                            return Ok(value);
                        }
                        AttemptOutcome::Conflict(conflict) => conflict,
                        AttemptOutcome::Stale if stale < MAX_STALE => {
                            stale += 1;
                            continue;
                        }
                        AttemptOutcome::Stale => return Err(every_connection_ended().into()),
                    };
                    let delay = retries.after(conflict.clone())?;
                    tracing::debug!(target: "app_db::transaction",
                        label = this.label,
                        attempt = progress.attempt(),
                        sqlstate = conflict.sqlstate().code(),
                        delay_ms = delay.as_millis() as u64,
                        "a transaction conflicted and is tried again"
                    );
                    progress.conflicted(conflict);
                    sleep(delay).await;
                }
            };
            let span = span::begin(this.pool, this.label);
            span::ended(this.bounded(progress, running), span, progress).await
        }
    }

    /// Runs the work in a transaction exactly once. Use it for work that cannot be repeated.
    ///
    /// # Errors
    ///
    /// As [`Transaction::run`]; a conflict is reported with `attempts: 1`.
    ///
    /// Dropping the future has the same effect as there.
    #[track_caller]
    pub fn run_once<T, E>(self, work: impl Work<T, E>) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<Error> + Send + 'static,
    {
        let caller = Location::caller();
        async move {
            let progress = TransactionProgress::new();
            let running = async {
                match self.attempt(work, caller, &progress).await? {
                    AttemptOutcome::Done(value) => Ok(value),
                    AttemptOutcome::Conflict(conflict) => Err(Error::Conflict {
                        attempts: 1,
                        exhausted: Exhausted::Attempts,
                        first: conflict.clone(),
                        last: conflict,
                    }
                    .into()),
                    AttemptOutcome::Stale => Err(every_connection_ended().into()),
                }
            };
            let span = span::begin(self.pool, self.label);
            span::ended(self.bounded(&progress, running), span, &progress).await
        }
    }

    async fn bounded<T, E: From<Error>>(
        &self,
        progress: &TransactionProgress,
        running: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if !self.invalid.options().is_empty() {
            return Err(Error::Invalid(self.invalid.clone()).into());
        }
        let Some(bound) = self.timeout else {
            return running.await;
        };
        // The attempt must report its progress before it is dropped, as its connection then belongs to
        // another caller.
        let mut running = pin!(running);
        match timeout(bound, running.as_mut()).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(progress.timed_out(bound).into()),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout?)
    }

    async fn attempt<T, E: From<Error> + 'static>(
        &self,
        work: impl Work<T, E>,
        caller: &'static Location<'static>,
        progress: &TransactionProgress,
    ) -> Result<AttemptOutcome<T>, E> {
        let (mut conn, observed) = self.open(caller, progress).await?;
        if let Some(observer) = Observer::of(&mut conn) {
            observer.set_attempt(progress.attempt());
            if self.resolves_commit {
                // The helper has to know the transaction's id before COMMIT.
                observer.keep_commit();
            }
        }
        let before = Before::of(&observed);
        progress.works_on(&observed);
        let working = CURRENT_CONNECTION.scope(Arc::clone(&observed), work(&mut conn));
        let working = plumbing::scope(self.pool, caller, working);
        let worked = working.await;
        match EarlyCommit::once_answered(&observed, before.early_commits()).await {
            EarlyCommit::None => {}
            EarlyCommit::Done => {
                let (outcome, left) = finish_early(conn, &observed, worked).await;
                after_commit::run_all(left);
                return outcome.map(AttemptOutcome::Done);
            }
            EarlyCommit::Unknown => return Err(outcome_is_lost(&observed).into()),
        }
        let value = match worked {
            Ok(value) => value,
            Err(error) => {
                let outcome = before.failed(&observed, &error);
                roll_back(&mut conn, &observed).await;
                return outcome.ok_or(error);
            }
        };
        let conclusion = self.conclusion(caller);
        let concluding = conclusion.reach(conn, &observed, &before, progress);
        Ok(match concluding.await? {
            AttemptOutcome::Done(()) => AttemptOutcome::Done(value),
            AttemptOutcome::Conflict(conflict) => AttemptOutcome::Conflict(conflict),
            AttemptOutcome::Stale => AttemptOutcome::Stale,
        })
    }

    fn conclusion(&self, caller: &'static Location<'static>) -> Conclusion<'_> {
        Conclusion {
            pool: self.pool,
            caller,
            resolves_commit: self.resolves_commit,
        }
    }

    /// Checks out a connection and begins the transaction on it.
    pub(crate) async fn open(
        &self,
        caller: &'static Location<'static>,
        progress: &TransactionProgress,
    ) -> Result<(Connection, Arc<Observed>), Error> {
        for stale in 0.. {
            progress.enter(Stage::Checkout);
            let mut conn = plumbing::get_for(self.pool, caller).await?;
            let observed = Arc::clone(plumbing::observed(&conn));
            let errors = observed.errors();
            if let Some(observer) = Observer::of(&mut conn) {
                observer.set_label(self.label);
                observer.keep_actions();
            }
            progress.enter(Stage::Work);
            let begin = self.options.begin();
            if Observer::begin_with_next(&mut conn, &begin) {
                return Ok((conn, observed));
            }
            match AnsiTransactionManager::begin_transaction_sql(&mut *conn, &begin).await {
                Ok(()) => return Ok((conn, observed)),
                // The connection ended while it was idle, and the pool did not notice.
                // Nothing has run.
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
}

/// How many ended connections in a row a transaction tolerates.
const MAX_STALE: u32 = 3;
