//! What a pool has counted since it began.

use std::sync::atomic::{AtomicU64, Ordering};

/// The totals behind [`Status`](crate::Status).
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) opened: AtomicU64,
    pub(crate) retired: AtomicU64,
    pub(crate) idle_closed: AtomicU64,
    pub(crate) lifetime_closed: AtomicU64,
    pub(crate) uses_closed: AtomicU64,
    pub(crate) surplus_closed: AtomicU64,
    pub(crate) discarded: AtomicU64,
    pub(crate) dirty_returned: AtomicU64,
    /// Connections that the server ended, or did not answer on.
    pub(crate) lost: AtomicU64,
    pub(crate) long_holds: AtomicU64,
    pub(crate) nested: AtomicU64,
    pub(crate) resets: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) slow_queries: AtomicU64,
}

impl Totals {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
