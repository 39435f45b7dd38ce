//! What a pool looks like at one instant.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::connect::breaker::Breaker;
use crate::connect::phases::ConnectPhases;
use crate::connect::pooler::Pooler;
use crate::histogram::Quantiles;
use crate::serialized::{displayed, seconds};

/// A pool at one instant: what it has now, and what it has counted since it began.
///
/// Serialized, times are seconds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The pool's name.
    #[serde(serialize_with = "displayed")]
    pub pool: Arc<str>,
    /// The number of the current generation of credentials; it begins at 1.
    pub generation: u64,
    /// What stands between the pool and its server.
    #[serde(serialize_with = "displayed")]
    pub pooler: Pooler,
    /// Whether the pool still believes in its server.
    #[serde(serialize_with = "displayed")]
    pub breaker: Breaker,
    /// The most connections alive at a time; [`Pool::resize`](crate::Pool::resize) changes it.
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
    /// How connecting went.
    pub connects: ConnectCounts,
    /// Why connections were closed.
    pub closed: CloseCounts,
    /// How callers fared that asked for a connection.
    pub checkouts: CheckoutCounts,
    /// Connections that were held for longer than `leak_threshold`.
    pub long_holds: u64,
    /// Connections that were [detached](crate::Connection::detach), and that nothing here counts any more.
    pub detached: u64,
    /// Connections whose session the pool reset when they came back.
    pub resets: u64,
    /// Statements slower than the threshold.
    pub slow_queries: u64,
}

/// How connecting went, since the pool began.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ConnectCounts {
    /// Connections made.
    pub opened: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// How long the parts of the newest connection took.
    pub newest: Option<ConnectPhases>,
    /// How long connecting took, over all connections.
    pub times: Quantiles,
}

/// How many connections were closed since the pool began, by the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CloseCounts {
    /// Their credentials were replaced.
    pub by_rotation: u64,
    /// They were idle for longer than `idle_timeout`.
    pub by_idle_timeout: u64,
    /// As many as `max_idle` were idle when they came back.
    pub by_max_idle: u64,
    /// They were older than `max_lifetime`.
    pub by_age: u64,
    /// They had been used `max_uses` times.
    pub by_uses: u64,
    /// The pool was made smaller, or was closed itself.
    pub by_resize: u64,
    /// They came back dirty, busy or broken, or failed their ping.
    pub discarded: u64,
    /// Discarded connections that their last holder left dirty: busy, in a transaction, with an
    /// instrumentation of its own, or with another connection in their place.
    pub dirty: u64,
}

/// How callers fared that asked for a connection, since the pool began.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckoutCounts {
    /// Callers that had to queue, however that ended.
    pub queued: u64,
    /// How long these queued, taken together.
    #[serde(serialize_with = "seconds")]
    pub queued_for: Duration,
    /// How long every caller queued, zero where it did not; the time of connecting is not in it.
    pub waits: Quantiles,
    /// Callers that ran into their timeout.
    pub timed_out: u64,
    /// Callers refused because as many as `max_waiting` were in the queue.
    pub refused: u64,
    /// Callers inside work that held a connection of the same pool, refused or not; and callers that had to queue
    /// in a task that held one in a transaction of diesel's own.
    pub nested: u64,
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
