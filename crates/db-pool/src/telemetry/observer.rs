//! The observer: the pool's instrumentation in diesel's slot.
//!
//! It reports two facts to the pool that the wire cannot know: that diesel began a query whose future was dropped
//! before a byte was sent, and that a holder has replaced this instrumentation with its own.

use std::num::NonZeroU32;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::connection::{
    Instrumentation, InstrumentationEvent, TransactionDepthChange, TransactionManagerStatus,
    get_default_instrumentation,
};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, TransactionManager,
};

use crate::connect::cancel_token::CancelToken;
use crate::telemetry::after_commit::{Actions, run_all};
use crate::telemetry::statement_span::StatementSpans;
use db_wire::{Observed, Steering};

/// What the observer tells the pool.
pub(crate) struct Activity {
    started: AtomicU64,
    finished: AtomicU64,
    committing: AtomicBool,
    holder: Mutex<Holder>,
    pub(crate) spans: StatementSpans,
    after_commit: Mutex<AfterCommit>,
    /// Whether COMMIT must travel alone, whatever the holder's work asks for.
    keeps_commit: AtomicBool,
    /// How many commits the server had refused when the last commit began.
    refused_commits: AtomicU64,
}

/// The present or last holder of the connection, as the slow-query log describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holder {
    /// Where the connection was asked for.
    pub(crate) caller: Option<&'static Location<'static>>,
    /// The name of the work in progress.
    pub(crate) label: Option<&'static str>,
    /// Which attempt at its transaction this is.
    pub(crate) attempt: Option<u32>,
    /// How long the holder waited for the connection.
    pub(crate) waited: Duration,
    /// The task that asked for it.
    pub(crate) task: Option<tokio::task::Id>,
    /// Whether the holder itself runs the actions after COMMIT.
    keeps_actions: bool,
}

/// The actions to run after COMMIT, and how many there were when each savepoint began.
#[derive(Default)]
struct AfterCommit {
    actions: Actions,
    savepoints: Vec<usize>,
}

impl Activity {
    pub(crate) fn new(spans: StatementSpans) -> Self {
        Self {
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            committing: AtomicBool::new(false),
            holder: Mutex::default(),
            spans,
            after_commit: Mutex::default(),
            keeps_commit: AtomicBool::new(false),
            refused_commits: AtomicU64::new(0),
        }
    }

    /// Whether diesel began a query whose future was dropped or is not finished yet.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.started.load(Ordering::Acquire) != self.finished.load(Ordering::Acquire)
    }

    /// Whether a COMMIT was begun and is not finished, no matter how far it has come.
    pub(crate) fn is_committing(&self) -> bool {
        self.committing.load(Ordering::Acquire)
    }

    /// Forgets the previous holder and notes the next one. Until then, the end of a statement still counts for the
    /// previous holder, even after it has returned the connection.
    pub(crate) fn hand_out(&self, caller: &'static Location<'static>, waited: Duration) {
        self.spans.forget();
        self.keeps_commit.store(false, Ordering::Release);
        *self.lock_holder() = Holder {
            caller: Some(caller),
            waited,
            task: tokio::task::try_id(),
            ..Holder::default()
        };
    }

    pub(crate) fn holder(&self) -> Holder {
        self.lock_holder().clone()
    }

    fn lock_holder(&self) -> std::sync::MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> std::sync::MutexGuard<'_, AfterCommit> {
        self.after_commit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what a holder stored for the rest of its own work.
    pub(crate) fn forget_holder(&self) {
        let left = std::mem::take(
            &mut *self
                .after_commit
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        // Dropped here and not under the lock, because they are the holder's own code.
        drop(left);
    }
}

/// The pool's instrumentation of one connection. It passes each event on to diesel's default one.
///
/// [`Observer::of`] finds it again from a plain `&mut AsyncPgConnection`.
pub struct Observer {
    observed: Arc<Observed>,
    activity: Arc<Activity>,
    steering: Arc<Steering>,
    cancel_token: CancelToken,
    next: Option<Box<dyn Instrumentation>>,
    /// The backend recognizes its observer by this handle. The number of owners tells whether the observer is still in
    /// diesel's slot.
    in_slot: Arc<()>,
}

impl Observer {
    pub(crate) fn new(
        observed: Arc<Observed>,
        steering: Arc<Steering>,
        activity: Arc<Activity>,
        cancel_token: CancelToken,
        in_slot: Arc<()>,
    ) -> Self {
        Self {
            observed,
            activity,
            steering,
            cancel_token,
            next: get_default_instrumentation(),
            in_slot,
        }
    }

    /// The observer of a connection. `None` if the connection does not belong to a pool, or if its holder replaced the
    /// observer.
    pub fn of(conn: &mut AsyncPgConnection) -> Option<&mut Self> {
        AsyncConnection::instrumentation(conn).downcast_mut::<Self>()
    }

    /// Whether it was made with this handle.
    pub(crate) fn is_the_one_of(&self, in_slot: &Arc<()>) -> bool {
        Arc::ptr_eq(&self.in_slot, in_slot)
    }

    /// What the wire knows about this connection.
    #[must_use]
    pub fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// A token that other code can use to cancel what this connection is doing.
    #[must_use]
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel_token
    }

    /// Names the work that follows, for the log. The pool forgets the name with the next checkout.
    pub fn set_label(&mut self, label: Option<&'static str>) {
        self.activity.lock_holder().label = label;
    }

    /// Says which attempt at the transaction follows, for the slow-query log; the first is 1.
    pub fn set_attempt(&mut self, attempt: u32) {
        self.activity.lock_holder().attempt = Some(attempt);
    }

    /// Begins diesel's transaction without a request to the wire, because the wire would hold this BEGIN back. Returns
    /// `false` if the wire would not, or if diesel is in a transaction.
    pub fn begin_with_next(conn: &mut AsyncPgConnection, sql: &str) -> bool {
        if !matches!(status_of(conn).transaction_depth(), Ok(None)) {
            return false;
        }
        let Some(observer) = Self::of(conn) else {
            return false;
        };
        let rules = observer.steering.rules();
        if !rules.is_some_and(|rules| observer.observed.begin_with_next(&rules, sql)) {
            return false;
        }
        let begins = InstrumentationEvent::begin_transaction(NonZeroU32::MIN);
        observer.on_connection_event(begins);
        change_depth(conn, TransactionDepthChange::IncreaseDepth)
    }

    /// Ends diesel's transaction without a request to the wire, if its BEGIN was never sent and it has not failed.
    /// Returns `false` if the caller must end it as usual.
    pub fn end_unbegun(conn: &mut AsyncPgConnection) -> bool {
        let Some(observer) = Self::of(conn) else {
            return false;
        };
        if !observer.observed.end_unbegun() {
            return false;
        }
        observer.steering.commit_with_none();
        observer.activity.left().savepoints.pop();
        if let Some(next) = &mut observer.next {
            next.on_connection_event(InstrumentationEvent::commit_transaction(NonZeroU32::MIN));
        }
        change_depth(conn, TransactionDepthChange::DecreaseDepth)
    }

    /// Lets COMMIT travel with the next statement, unless COMMIT has to travel alone.
    pub fn commit_with_next(&mut self) {
        if !self.activity.keeps_commit.load(Ordering::Acquire) {
            self.steering.commit_with_next();
        }
    }

    /// Keeps COMMIT from travelling with a statement until the connection is handed out again.
    pub fn keep_commit(&mut self) {
        self.activity.keeps_commit.store(true, Ordering::Release);
    }

    /// Lets the holder itself run the actions after COMMIT. The pool forgets this with the next checkout.
    pub fn keep_actions(&mut self) {
        self.activity.lock_holder().keeps_actions = true;
    }

    /// Runs the actions after a COMMIT that is known to have succeeded, unless the holder runs them. Drops them after
    /// any other end.
    fn commit_ended(&self, has_failed: bool) {
        if self.activity.lock_holder().keeps_actions {
            return;
        }
        let refused = self.activity.refused_commits.load(Ordering::Acquire);
        let is_known = !has_failed && self.observed.refused_commits() == refused;
        let left = std::mem::take(&mut self.activity.left().actions);
        if is_known {
            run_all(left);
        }
    }

    /// Registers an action to run once the transaction's COMMIT is known.
    pub fn after_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        self.activity
            .after_commit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .actions
            .push(Box::new(action));
    }

    /// Takes the actions, in the order in which they were registered. The code that commits runs or drops them.
    pub fn take_after_commit(&mut self) -> Actions {
        std::mem::take(
            &mut *self
                .activity
                .after_commit
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
        .actions
    }
}

fn status_of(conn: &mut AsyncPgConnection) -> &mut TransactionManagerStatus {
    AnsiTransactionManager::transaction_manager_status_mut(conn)
}

fn change_depth(conn: &mut AsyncPgConnection, change: TransactionDepthChange) -> bool {
    let status = status_of(conn).transaction_state();
    status.is_ok_and(|status| status.change_transaction_depth(change).is_ok())
}

impl Instrumentation for Observer {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match &event {
            InstrumentationEvent::StartQuery { query, .. } => {
                self.activity.started.fetch_add(1, Ordering::AcqRel);
                self.activity.spans.begin(query);
            }
            InstrumentationEvent::FinishQuery { query, error, .. } => {
                self.activity.finished.fetch_add(1, Ordering::AcqRel);
                let was_commit = self.activity.committing.swap(false, Ordering::AcqRel);
                if let (Some(error), Some(said)) = (error, self.observed.last_error()) {
                    said.heard_as(error);
                }
                let is_working = self.observed.is_working();
                let spans = &self.activity.spans;
                spans.finished(query, error.is_some(), is_working);
                if was_commit {
                    self.commit_ended(error.is_some());
                }
            }
            InstrumentationEvent::BeginTransaction { .. } => {
                let mut left = self.activity.left();
                let count = left.actions.len();
                left.savepoints.push(count);
            }
            InstrumentationEvent::CommitTransaction { depth, .. } => {
                // Only the outermost transaction commits; the inner ones release a savepoint.
                if depth.get() == 1 {
                    let refused = self.observed.refused_commits();
                    self.activity
                        .refused_commits
                        .store(refused, Ordering::Release);
                    self.activity.committing.store(true, Ordering::Release);
                }
                self.activity.left().savepoints.pop();
            }
            InstrumentationEvent::RollbackTransaction { .. } => {
                let undone = {
                    let mut left = self.activity.left();
                    let before = left.savepoints.pop().unwrap_or_default();
                    let before = before.min(left.actions.len());
                    left.actions.split_off(before)
                };
                drop(undone);
            }
            _ => {}
        }
        if let Some(next) = &mut self.next {
            next.on_connection_event(event);
        }
    }
}
