//! What a pool looks like at one instant.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::connect::breaker::Breaker;
use crate::connect::phases::ConnectPhases;
use crate::connect::pooler::Pooler;
use crate::histogram::Quantiles;

/// The counts of one pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The pool's name.
    pub pool: Arc<str>,
    /// The number of the current generation of credentials; it begins at 1.
    pub generation: u64,
    /// What stands between the pool and its server.
    pub pooler: Pooler,
    /// The most connections alive at a time; what [`Pool::resize`](crate::Pool::resize) changes.
    pub max: u32,
    /// Connections alive: idle, in use, or being closed.
    pub open: u32,
    /// Connections nobody holds.
    pub idle: u32,
    /// Connections handed out.
    pub in_use: u32,
    /// Callers in the queue: every connection is in use or being closed.
    pub waiting: u32,
    /// Connections of older generations that are still alive.
    pub retiring: u32,
    /// Connections made since the pool began.
    pub opened: u64,
    /// Connections replaced because of a rotation.
    pub retired: u64,
    /// Connections closed because they were idle for longer than `idle_timeout`.
    pub idle_closed: u64,
    /// Connections closed because they were older than `max_lifetime`.
    pub lifetime_closed: u64,
    /// Connections closed after `max_uses` checkouts.
    pub uses_closed: u64,
    /// Connections closed because the pool was made smaller, or was closed itself.
    pub surplus_closed: u64,
    /// Connections thrown away because they came back dirty, busy or broken, or failed their ping.
    pub discarded: u64,
    /// Of those, the ones whose last holder left them dirty: busy, in a transaction, with an
    /// instrumentation of its own, or with another connection in their place.
    pub dirty_returned: u64,
    /// Connections that were held for longer than `leak_threshold`.
    pub long_holds: u64,
    /// Checkouts from inside work that held a connection of the same pool, refused or not.
    pub nested: u64,
    /// Connections whose session was reset as they came back.
    pub resets: u64,
    /// Failed attempts to connect.
    pub connect_failures: u64,
    /// Whether the pool still believes in its server.
    pub breaker: Breaker,
    /// Checkouts that ran into their timeout.
    pub timeouts: u64,
    /// Checkouts refused because as many as `max_waiting` were in the queue.
    pub refused: u64,
    /// Checkouts that had to queue, however that ended.
    pub wait_count: u64,
    /// How long they queued, taken together.
    pub wait_duration: Duration,
    /// How long every checkout queued, zero where it did not; the time of connecting is not in it.
    pub waits: Quantiles,
    /// Statements slower than the threshold.
    pub slow_queries: u64,
    /// How long the parts of the newest connection took.
    pub last_connect: Option<ConnectPhases>,
    /// How long connecting took, of every connection since the pool began (req 0.36, req 1.17).
    pub connect_times: Quantiles,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} connections open, {} in use, {} idle, {} callers waiting",
            self.open, self.max, self.in_use, self.idle, self.waiting
        )
    }
}

/// What closing a pool found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Connections that were still held when the grace was over; their statements were cancelled.
    pub abandoned: u32,
}

impl std::iter::Sum for Closed {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let abandoned = all.map(|closed| closed.abandoned).sum();
        Self { abandoned }
    }
}

/// The totals behind [`Status`].
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
