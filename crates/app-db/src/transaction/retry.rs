//! How often a transaction is retried, and how long it waits before that.

use std::time::Duration;

use serde::Deserialize;

use crate::transaction::budget::Percent;

/// The settings `[database.retry]`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Retry {
    pub(crate) attempts: u32,
    pub(crate) budget: Percent,
    #[serde(with = "db_config::duration")]
    base_delay: Duration,
    #[serde(with = "db_config::duration")]
    max_delay: Duration,
}

impl Retry {
    /// The delay after the given attempt, counted from 1: a random time up to `base × 2^(n−1)`.
    ///
    /// It is fully random, so that transactions that conflicted with each other do not meet again.
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base_delay
            .saturating_mul(1 << doublings)
            .min(self.max_delay)
            .mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spread_below_a_bound_that_doubles() {
        let retry = Retry {
            attempts: 3,
            budget: Percent(20),
            base_delay: Duration::from_millis(10),
            max_delay: Duration::from_millis(50),
        };
        for (attempt, bound) in [(1, 10), (2, 20), (3, 40), (4, 50), (40, 50)] {
            let delays: Vec<_> = (0..200).map(|_| retry.delay(attempt)).collect();
            let bound = Duration::from_millis(bound);
            assert!(delays.iter().all(|delay| *delay <= bound));
            assert!(delays.iter().any(|delay| *delay > bound / 2));
            assert!(delays.iter().any(|delay| *delay < bound / 2));
        }
    }
}
