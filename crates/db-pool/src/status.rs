//! The status of a pool at one instant.

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
/// In serialized form, times are seconds.
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
    /// Whether callers wait for a server that cannot be reached.
    #[serde(serialize_with = "displayed")]
    pub breaker: Breaker,
    /// The maximum of live connections; [`Pool::resize`](crate::Pool::resize) changes it.
    pub max: u32,
    /// Live connections: idle, in use, or being closed.
    pub open: u32,
    /// Connections that nobody holds.
    pub idle: u32,
    /// Connections handed out.
    pub in_use: u32,
    /// Callers in the queue, who wait because every connection is in use or being closed.
    pub waiting: u32,
    /// Connections of older generations that are still alive.
    pub retiring: u32,
    /// How connecting went.
    pub connects: ConnectCounts,
    /// Why connections were closed.
    pub closed: CloseCounts,
    /// What happened to callers that asked for a connection.
    pub checkouts: CheckoutCounts,
    /// Connections that were held for longer than `leak_threshold`.
    pub long_holds: u64,
    /// Connections that were [detached](crate::Connection::detach). No other count here includes them.
    pub detached: u64,
    /// Connections whose session the pool reset when they came back.
    pub resets: u64,
    /// Statements slower than the threshold.
    pub slow_queries: u64,
}

/// How connecting went since the pool began.
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

/// How many connections were closed since the pool began, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CloseCounts {
    /// Their credentials were replaced.
    pub by_rotation: u64,
    /// They were idle for longer than `idle_timeout`.
    pub by_idle_timeout: u64,
    /// `max_idle` connections were already idle when they came back.
    pub by_max_idle: u64,
    /// They were older than `max_lifetime`.
    pub by_age: u64,
    /// They had been used `max_uses` times.
    pub by_uses: u64,
    /// The pool was made smaller, or was closed itself.
    pub by_resize: u64,
    /// They came back dirty, busy or broken, or failed their ping.
    pub discarded: u64,
    /// Discarded connections that their last holder left dirty: busy, in a transaction, with the holder's own
    /// instrumentation, or swapped for another connection.
    pub dirty: u64,
}

/// What happened to callers that asked for a connection, since the pool began.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckoutCounts {
    /// Callers that had to queue, however that ended.
    pub queued: u64,
    /// How long these queued in total.
    #[serde(serialize_with = "seconds")]
    pub queued_for: Duration,
    /// How long every caller queued; zero for callers that did not. The time of connecting is not included.
    pub waits: Quantiles,
    /// Callers whose time was up.
    pub timed_out: u64,
    /// Callers refused because as many as `max_waiting` were in the queue.
    pub refused: u64,
    /// Callers inside work that held a connection of the same pool, refused or not. This includes callers that
    /// had to queue while their task held a connection in a diesel transaction.
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
    /// Connections that were still held when the grace was over. Their statements were cancelled.
    pub abandoned: u32,
}

impl std::iter::Sum for Closed {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let abandoned = all.map(|closed| closed.abandoned).sum();
        Self { abandoned }
    }
}
