//! The counts of a pool since it began.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::close_reason::CloseReason;

/// The totals behind [`Status`](crate::Status).
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) opened: AtomicU64,
    /// Closed connections, by the place of the reason in [`CloseReason::ALL`].
    closed: [AtomicU64; CloseReason::ALL.len()],
    /// Connections that their holders have kept for good.
    pub(crate) detached: AtomicU64,
    /// Connections that the server ended, or did not answer on.
    pub(crate) lost: AtomicU64,
    pub(crate) long_holds: AtomicU64,
    pub(crate) nested: AtomicU64,
    pub(crate) resets: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
    /// Failed attempts that the server refused because it had no connection left.
    pub(crate) too_many_connections: AtomicU64,
    /// Callers that queued and got a connection.
    pub(crate) served_after_queueing: AtomicU64,
    /// Callers that got a newly made connection.
    pub(crate) served_new: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) slow_queries: AtomicU64,
}

impl Totals {
    pub(crate) fn count_closed(&self, reason: CloseReason) {
        Self::count(&self.closed[reason as usize]);
    }

    /// How many connections were closed for one of these reasons.
    pub(crate) fn closed(&self, reasons: &[CloseReason]) -> u64 {
        let count = |reason: &CloseReason| self.closed[*reason as usize].load(Ordering::Relaxed);
        reasons.iter().map(count).sum()
    }

    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
