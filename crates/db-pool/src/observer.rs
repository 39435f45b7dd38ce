//! The observer: diesel's own slot for instrumentation, occupied by the pool.
//!
//! It tells the pool two things that the wire cannot: that a query was begun and its future dropped
//! before a byte was sent, and that a borrower put an instrumentation of its own in our place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::{
    DebugQuery, Instrumentation, InstrumentationEvent, get_default_instrumentation,
};

use crate::wire::{Observed, TransactionStatus};

/// What the observer tells the pool.
#[derive(Default)]
pub(crate) struct Activity {
    started: AtomicU64,
    finished: AtomicU64,
    slow: AtomicU64,
    committing: AtomicBool,
    label: Mutex<Option<&'static str>>,
    after_commit: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
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
    pool: Arc<str>,
    observed: Arc<Observed>,
    activity: Arc<Activity>,
    slow_query: Option<Duration>,
    began: Option<Instant>,
    next: Option<Box<dyn Instrumentation>>,
    /// The backend counts this handle's owners to learn whether we are still in diesel's slot.
    _in_slot: Arc<()>,
}

impl Observer {
    pub(crate) fn new(
        pool: Arc<str>,
        observed: Arc<Observed>,
        activity: Arc<Activity>,
        slow_query: Option<Duration>,
        in_slot: Arc<()>,
    ) -> Self {
        Self {
            pool,
            observed,
            activity,
            slow_query,
            began: None,
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

    /// Names the work that follows, for the slow-query log; the pool forgets it at check-in.
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
    }

    fn finish(&mut self, query: &dyn DebugQuery, failed: bool) {
        let Some(duration) = self.began.take().map(|began| began.elapsed()) else {
            return;
        };
        if self.slow_query.is_none_or(|threshold| duration < threshold) {
            return;
        }
        self.activity.slow.fetch_add(1, Ordering::Relaxed);
        let label = *self
            .activity
            .label
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tracing::warn!(
            target: "app_db::slow_query",
            pool = &*self.pool,
            label,
            duration_ms = duration.as_millis() as u64,
            in_transaction = self.observed.transaction_status() != TransactionStatus::Idle,
            failed,
            sql = text_without_values(query),
            "slow query"
        );
    }
}

impl Instrumentation for Observer {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match &event {
            InstrumentationEvent::StartQuery { .. } => {
                self.activity.started.fetch_add(1, Ordering::AcqRel);
                self.began = Some(Instant::now());
            }
            InstrumentationEvent::FinishQuery { query, error, .. } => {
                self.activity.finished.fetch_add(1, Ordering::AcqRel);
                self.activity.committing.store(false, Ordering::Release);
                self.finish(*query, error.is_some());
            }
            // Only the outermost one commits; those below release a savepoint.
            InstrumentationEvent::CommitTransaction { depth, .. } if depth.get() == 1 => {
                self.activity.committing.store(true, Ordering::Release);
            }
            _ => {}
        }
        if let Some(next) = &mut self.next {
            next.on_connection_event(event);
        }
    }
}

/// The SQL with its placeholders, on one line.
///
/// diesel shows a query as `SQL -- binds: [values]`. The cut is made at the first such mark: where the
/// SQL itself holds one the text ends early, but no value ever passes.
fn text_without_values(query: &dyn DebugQuery) -> String {
    let shown = query.to_string();
    let sql = shown.split("-- binds:").next().unwrap_or_default();
    // A line break or an escape sequence in a comment must not forge a line of the log.
    sql.trim_end()
        .chars()
        .take(MAX_TEXT)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

/// How many characters of a statement are logged.
const MAX_TEXT: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::IntoSql;
    use diesel::sql_types::Text;

    /// req 2.08, 4.47; case R63
    #[test]
    fn the_logged_text_has_no_values_and_no_line_breaks() {
        let query = diesel::select("CANARY -- binds: [x]".into_sql::<Text>());
        let shown = diesel::debug_query::<diesel::pg::Pg, _>(&query);
        assert_eq!(text_without_values(&shown), "SELECT $1");

        let query = diesel::sql_query("select 1 /* \r\n\x1b[31mforged */");
        let shown = diesel::debug_query::<diesel::pg::Pg, _>(&query);
        assert_eq!(text_without_values(&shown), "select 1 /*    [31mforged */");
    }
}
