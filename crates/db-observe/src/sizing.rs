//! Adaptive sizing: decides how large a pool should be for its load.

mod slowness;

use std::time::Duration;

use app_db::db_pool::{Breaker, Diagnosis, PoolSnapshot};
use tokio::time::Instant;

pub(crate) use self::slowness::Slowness;

/// The facts at one instant that decide the size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SizingInputs {
    /// Connections in use.
    pub in_use: u32,
    /// The size now.
    pub max: u32,
    /// The largest size allowed.
    pub ceiling: u32,
    /// The idle connections that are kept ready now.
    pub min_idle: u32,
    /// The most idle connections now.
    pub max_idle: Option<u32>,
    /// Callers that have queued since the pool began.
    pub queued: u64,
    /// Attempts to connect that the server refused with 53300, since the pool began.
    pub too_many_connections: u64,
    /// Connections lost since the pool began.
    pub lost: u64,
    /// Whether the breaker is not closed, the last attempt to connect failed, or credentials are being rotated.
    pub is_unsettled: bool,
    /// Whether holders keep their connections: a leak or long transactions. More connections would not help.
    pub is_held_up: bool,
}

impl SizingInputs {
    pub(crate) fn of(pool: &PoolSnapshot) -> Self {
        let lost = pool.closed.iter().filter(|(reason, _)| *reason == "lost");
        Self {
            in_use: pool.status.in_use,
            max: pool.status.max,
            ceiling: pool.ceiling,
            min_idle: pool.settings.min_idle,
            max_idle: pool.settings.max_idle,
            queued: pool.status.checkouts.queued,
            too_many_connections: pool.too_many_connections,
            lost: lost.map(|(_, count)| count).sum(),
            is_unsettled: pool.status.breaker != Breaker::Closed
                || pool.last_failure.is_some()
                || pool.is_rotating,
            is_held_up: matches!(
                pool.diagnosis,
                Some(
                    Diagnosis::Leaked { .. }
                        | Diagnosis::LongTransaction { .. }
                        | Diagnosis::Withheld { .. }
                )
            ),
        }
    }
}

/// Another size, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SizeChange {
    /// The new size.
    pub max: u32,
    /// How many idle connections should be ready.
    pub min_idle: u32,
    /// How many may be idle.
    pub max_idle: Option<u32>,
    /// The reason, in words and numbers.
    pub cause: String,
}

/// Decides the size of one pool. It gets the facts often, and has no clock of its own.
///
/// A pool grows by five if somebody has waited in its queue and four fifths of its connections were in use on average.
/// It shrinks by three, down to five, if never more than a fifth was in use. It changes at most once in an interval.
/// Nothing changes while its server has a problem, or while holders keep their connections. If the server has no
/// connection left, the pool gives back a tenth. If statements have become slower, it does not grow.
#[derive(Debug)]
pub struct Sizer {
    interval: Duration,
    /// The value before this ever changed the pool.
    min_idle: Option<u32>,
    span: Option<Span>,
}

/// The time since the last decision.
#[derive(Debug)]
struct Span {
    since: Instant,
    at_begin: SizingInputs,
    seen: u32,
    in_use: u64,
    peak: u32,
    was_unsettled: bool,
    was_held_up: bool,
}

impl Sizer {
    /// Decides once in an interval; a minute is usual.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            min_idle: None,
            span: None,
        }
    }

    /// Looks at the pool, and decides when the interval is over. `is_slower` says whether statements take longer than
    /// before; it is called only then.
    pub fn observe(
        &mut self,
        now: Instant,
        inputs: &SizingInputs,
        is_slower: impl FnOnce() -> bool,
    ) -> Option<SizeChange> {
        let min_idle = *self.min_idle.get_or_insert(inputs.min_idle);
        let span = self.span.get_or_insert_with(|| Span::begin(now, inputs));
        span.note(inputs);
        if now.duration_since(span.since) < self.interval {
            return None;
        }
        let change = span.decide(inputs, min_idle, is_slower);
        // The sizer's own change does not count as a change by somebody else.
        let mut inputs = inputs.clone();
        if let Some(change) = &change {
            inputs.max = change.max;
        }
        self.span = Some(Span::begin(now, &inputs));
        change
    }
}

impl Span {
    fn begin(since: Instant, inputs: &SizingInputs) -> Self {
        Self {
            since,
            at_begin: inputs.clone(),
            seen: 0,
            in_use: 0,
            peak: 0,
            was_unsettled: false,
            was_held_up: false,
        }
    }

    fn note(&mut self, inputs: &SizingInputs) {
        self.seen += 1;
        self.in_use += u64::from(inputs.in_use);
        self.peak = self.peak.max(inputs.in_use);
        self.was_unsettled |= inputs.is_unsettled;
        self.was_held_up |= inputs.is_held_up;
    }

    fn decide(
        &self,
        now: &SizingInputs,
        min_idle: u32,
        is_slower: impl FnOnce() -> bool,
    ) -> Option<SizeChange> {
        let max = now.max;
        let refused = now.too_many_connections - self.at_begin.too_many_connections;
        if refused > 0 {
            let smaller = max - (max / 10).max(1);
            let cause = format!("the server had no connection left {refused} times");
            return (max > FLOOR)
                .then(|| change(now, smaller.max(FLOOR), now.max_idle, min_idle, cause));
        }
        let lost = now.lost - self.at_begin.lost;
        if self.was_unsettled || self.was_held_up || lost > 0 || now.max != self.at_begin.max {
            return None;
        }
        let queued = now.queued - self.at_begin.queued;
        let mean = self.in_use as f64 / f64::from(self.seen.max(1));
        if queued > 0 && mean >= BUSY * f64::from(max) {
            let larger = max.saturating_add(GROWTH).min(now.ceiling);
            if larger <= max || is_slower() {
                return None;
            }
            let idle = now.max_idle.map(|idle| idle.max((idle + 2).min(MOST_IDLE)));
            let cause = format!("{queued} callers queued, and {mean:.1} of {max} were in use");
            return Some(change(now, larger, idle, min_idle, cause));
        }
        if f64::from(self.peak) <= QUIET * f64::from(max) && max > FLOOR && queued == 0 {
            let smaller = max.saturating_sub(SHRINKAGE).max(FLOOR);
            let idle = now
                .max_idle
                .map(|idle| idle.min(idle.saturating_sub(1).max(LEAST_IDLE)));
            let cause = format!("at most {} of {max} were in use", self.peak);
            return Some(change(now, smaller, idle, min_idle, cause));
        }
        None
    }
}

fn change(
    now: &SizingInputs,
    max: u32,
    max_idle: Option<u32>,
    min_idle: u32,
    cause: String,
) -> SizeChange {
    debug_assert!(max <= now.ceiling || max <= now.max);
    SizeChange {
        max,
        min_idle: min_idle.min(max).min(max_idle.unwrap_or(u32::MAX)),
        max_idle,
        cause,
    }
}

/// A pool is busy if at least the share `BUSY` is in use on average, and quiet if its peak is at most the share below.
const BUSY: f64 = 0.8;
const QUIET: f64 = 0.2;

/// By how many connections it grows and shrinks, and its floor.
const GROWTH: u32 = 5;
const SHRINKAGE: u32 = 3;
const FLOOR: u32 = 5;
const MOST_IDLE: u32 = 20;
const LEAST_IDLE: u32 = 2;

#[cfg(test)]
mod tests;
