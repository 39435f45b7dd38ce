//! The observer: diesel's own slot for instrumentation, occupied by the pool.
//!
//! It tells the pool two things that the wire cannot: that a query was begun and its future dropped
//! before a byte was sent, and that a borrower put an instrumentation of its own in our place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::{Instrumentation, InstrumentationEvent, get_default_instrumentation};

use crate::wire::Observed;

/// What the observer tells the pool.
#[derive(Default)]
pub(crate) struct Activity {
    started: AtomicU64,
    finished: AtomicU64,
    slow: AtomicU64,
    committing: AtomicBool,
    label: Mutex<Option<&'static str>>,
    after_commit: Mutex<AfterCommit>,
}

/// What is left to be done after COMMIT, and how much of it there was when each savepoint began.
#[derive(Default)]
struct AfterCommit {
    actions: Vec<Box<dyn FnOnce() + Send>>,
    savepoints: Vec<usize>,
}

impl Activity {
    /// Whether a query was begun whose future was dropped, or is still there.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.started.load(Ordering::Acquire) != self.finished.load(Ordering::Acquire)
    }

    /// Whether a COMMIT was begun that is not finished, wherever on its way it is.
    pub(crate) fn is_committing(&self) -> bool {
        self.committing.load(Ordering::Acquire)
    }

    /// The name of the work in progress.
    pub(crate) fn label(&self) -> Option<&'static str> {
        *self.label.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> std::sync::MutexGuard<'_, AfterCommit> {
        self.after_commit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count_slow(&self) {
        self.slow.fetch_add(1, Ordering::Relaxed);
    }

    /// Slow queries since the last time this was asked.
    pub(crate) fn take_slow(&self) -> u64 {
        self.slow.swap(0, Ordering::Relaxed)
    }

    /// Forgets what a borrower left for the rest of its own work.
    pub(crate) fn forget_borrower(&self) {
        *self.label.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let left = std::mem::take(
            &mut *self
                .after_commit
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        // Dropped here and not under the lock: they are the borrower's own code.
        drop(left);
    }
}

/// The pool's instrumentation of one connection; chains to diesel's default one.
///
/// From a plain `&mut AsyncPgConnection` it is found again with [`Observer::of`].
pub struct Observer {
    observed: Arc<Observed>,
    activity: Arc<Activity>,
    next: Option<Box<dyn Instrumentation>>,
    /// The backend counts this handle's owners to learn whether we are still in diesel's slot.
    _in_slot: Arc<()>,
}

impl Observer {
    pub(crate) fn new(observed: Arc<Observed>, activity: Arc<Activity>, in_slot: Arc<()>) -> Self {
        Self {
            observed,
            activity,
            next: get_default_instrumentation(),
            _in_slot: in_slot,
        }
    }

    /// The observer of a connection, unless the connection is not a pool's or its borrower replaced it.
    pub fn of(conn: &mut diesel_async::AsyncPgConnection) -> Option<&mut Self> {
        diesel_async::AsyncConnection::instrumentation(conn).downcast_mut::<Self>()
    }

    /// What the wire knows of this connection.
    #[must_use]
    pub fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// Names the work that follows, for the log; the pool forgets it at check-in.
    pub fn set_label(&mut self, label: Option<&'static str>) {
        *self
            .activity
            .label
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = label;
    }

    /// Leaves something to be done after the transaction's COMMIT is known.
    pub fn after_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        self.activity
            .after_commit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .actions
            .push(Box::new(action));
    }

    /// Takes what was left, in the order in which it was left; whoever commits runs or drops it.
    pub fn take_after_commit(&mut self) -> Vec<Box<dyn FnOnce() + Send>> {
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

impl Instrumentation for Observer {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match &event {
            InstrumentationEvent::StartQuery { .. } => {
                self.activity.started.fetch_add(1, Ordering::AcqRel);
            }
            InstrumentationEvent::FinishQuery { .. } => {
                self.activity.finished.fetch_add(1, Ordering::AcqRel);
                self.activity.committing.store(false, Ordering::Release);
            }
            InstrumentationEvent::BeginTransaction { .. } => {
                let mut left = self.activity.left();
                let count = left.actions.len();
                left.savepoints.push(count);
            }
            InstrumentationEvent::CommitTransaction { depth, .. } => {
                // Only the outermost one commits; those below release a savepoint.
                if depth.get() == 1 {
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
