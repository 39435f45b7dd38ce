//! Which failures of a migration the migrator retries, and for how long.

use std::time::{Duration, Instant};

use tokio_postgres::error::{DbError, SqlState};

use crate::migrate::lock_wait::LockWait;

/// The attempts of one migration. Time counts from the first failure, so that a long migration may wait
/// as long as a short one.
pub(super) struct Retry {
    budget: Duration,
    attempts: u32,
    failed_since: Option<Instant>,
}

impl Retry {
    pub(super) fn new(budget: Option<Duration>) -> Self {
        Self {
            budget: budget.unwrap_or_default(),
            attempts: 0,
            failed_since: None,
        }
    }

    /// Counts a failed attempt. Returns how long to wait before the next one, or `None` if the time is used
    /// up.
    pub(super) fn failed(&mut self, passing: Passing, now: Instant) -> Option<Duration> {
        self.attempts += 1;
        let failed_since = *self.failed_since.get_or_insert(now);
        let left = self.budget.saturating_sub(now - failed_since);
        let is_left = !left.is_zero() && self.attempts < passing.attempts();
        is_left.then(|| delay(self.attempts).min(left))
    }

    /// Completes `waited` with the number of attempts and the time since the first failure.
    pub(super) fn summed_up(&self, waited: LockWait, now: Instant) -> LockWait {
        LockWait {
            attempts: self.attempts,
            tried_for: self
                .failed_since
                .map_or(Duration::ZERO, |since| now - since),
            ..waited
        }
    }
}

/// Why a failed statement may succeed in a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// Another session held a lock for longer than `lock_timeout`, or in a deadlock.
    Lock,
    /// Another session changed the same objects in the same moment, as with two
    /// `CREATE EXTENSION IF NOT EXISTS`.
    Catalog,
}

impl Passing {
    /// Whether and why the failure may pass. The decision reads codes and routines and not the text, which
    /// servers translate.
    pub(super) fn of(error: &DbError, accepts_existing: bool) -> Option<Self> {
        let code = error.code();
        if [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(code)
        {
            return Some(Self::Lock);
        }
        let collision = match *code {
            SqlState::UNIQUE_VIOLATION => error.schema() == Some("pg_catalog"),
            // "tuple concurrently updated": two GRANTs, or two CREATE OR REPLACE of one object.
            SqlState::INTERNAL_ERROR => matches!(
                error.routine(),
                Some("simple_heap_update" | "simple_heap_delete")
            ),
            SqlState::DUPLICATE_OBJECT
            | SqlState::DUPLICATE_TABLE
            | SqlState::DUPLICATE_SCHEMA
            | SqlState::DUPLICATE_FUNCTION => accepts_existing,
            SqlState::T_R_SERIALIZATION_FAILURE => true,
            _ => false,
        };
        collision.then_some(Self::Catalog)
    }

    /// How many attempts are worthwhile. A collision is over at once; a failure that lasts has another
    /// cause.
    fn attempts(self) -> u32 {
        match self {
            Self::Lock => u32::MAX,
            Self::Catalog => 10,
        }
    }
}

/// A random delay of up to 250 ms, doubled with each attempt up to 30 s.
fn delay(attempt: u32) -> Duration {
    let longest = (250_u64 << attempt.saturating_sub(1).min(7)).min(30_000);
    Duration::from_millis(fastrand::u64(1..=longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_tried_until_its_time_is_used_up() {
        let mut retry = Retry::new(Some(Duration::from_secs(600)));
        let started = Instant::now();
        let mut now = started;
        let mut failures = 0;
        while let Some(delay) = retry.failed(Passing::Lock, now) {
            assert!(delay <= Duration::from_secs(30), "{delay:?}");
            now += Duration::from_secs(2) + delay;
            failures += 1;
        }
        let waited = now - started;
        assert!((600..=602).contains(&waited.as_secs()), "{waited:?}");
        assert!((18..300).contains(&failures), "{failures}");
        let summed_up = retry.summed_up(LockWait::default(), now);
        assert_eq!(summed_up.attempts, failures + 1);
        assert_eq!(summed_up.tried_for, waited);
    }

    #[test]
    fn a_collision_is_tried_ten_times() {
        let mut retry = Retry::new(Some(Duration::from_secs(600)));
        let now = Instant::now();
        let tried = std::iter::from_fn(|| retry.failed(Passing::Catalog, now));
        assert_eq!(tried.count(), 9);
    }

    #[test]
    fn without_time_nothing_is_tried_again() {
        assert_eq!(Retry::new(None).failed(Passing::Lock, Instant::now()), None);
    }
}
