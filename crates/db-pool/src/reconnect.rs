//! How long to leave a server alone that could not be connected to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::ConnectError;
use crate::profile::Reconnect;

/// A pool's memory of failed attempts to connect.
#[derive(Debug)]
pub(crate) struct Backoff {
    rules: Reconnect,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    in_a_row: u32,
    last: Option<(Instant, ConnectError)>,
    not_before: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(rules: Reconnect) -> Self {
        Self {
            rules,
            failures: Mutex::default(),
        }
    }

    /// When somebody who began to wait at `arrived` may try to connect.
    ///
    /// The delay doubles with every failure in a row. Whoever arrived after the last failure waits no
    /// longer than the base delay: a pool in use tries about once a second, and finds a server that has
    /// come back within that time.
    pub(crate) fn earliest(&self, arrived: Instant) -> Option<Instant> {
        let failures = self.lock();
        let (failed_at, _) = failures.last.as_ref()?;
        let not_before = failures.not_before?;
        if arrived > *failed_at {
            return Some(not_before.min(*failed_at + self.rules.base_delay));
        }
        Some(not_before)
    }

    /// When to try again on nobody's behalf.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.lock().not_before
    }

    /// The last failure, while its delay runs, if waiting does not heal it.
    pub(crate) fn refusal(&self) -> Option<ConnectError> {
        let failures = self.lock();
        let (failed_at, error) = failures.last.as_ref()?;
        let fresh = failed_at.elapsed() < self.rules.base_delay;
        (fresh && error.is_permanent()).then(|| error.clone())
    }

    /// Notes the failure of an attempt that began then.
    pub(crate) fn failed(&self, began: Instant, error: ConnectError) {
        let mut failures = self.lock();
        let now = Instant::now();
        if let Some((failed_at, last)) = &mut failures.last
            && began < *failed_at
        {
            // Of many attempts at once the first to fail has set the delay for all.
            *last = error;
            return;
        }
        failures.in_a_row = failures.in_a_row.saturating_add(1);
        failures.not_before = Some(now + self.delay(failures.in_a_row));
        failures.last = Some((now, error));
    }

    pub(crate) fn succeeded(&self) {
        let mut failures = self.lock();
        if failures.last.is_some() {
            *failures = Failures::default();
        }
    }

    /// The last failure since the last success.
    pub(crate) fn last_failure(&self) -> Option<ConnectError> {
        self.lock().last.as_ref().map(|(_, error)| error.clone())
    }

    /// `base × 2^(n−1)` up to the maximum, and of that the upper half at random (req 2.35).
    fn delay(&self, in_a_row: u32) -> Duration {
        let doublings = in_a_row.min(self.rules.attempts).saturating_sub(1).min(31);
        let full = self
            .rules
            .base_delay
            .saturating_mul(1 << doublings)
            .min(self.rules.max_delay);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    /// req 2.18, 2.35; case R08
    #[tokio::test(start_paused = true)]
    async fn the_delay_doubles_up_to_its_maximum_and_a_success_ends_it() {
        let backoff = Backoff::new(Reconnect::default());
        let arrived = Instant::now();
        assert_eq!(backoff.earliest(arrived), None);
        let expected = [1, 2, 4, 8, 16, 30, 30];
        for seconds in expected {
            tokio::time::advance(Duration::from_millis(1)).await;
            let began = Instant::now();
            backoff.failed(began, ConnectError::new("db", Failure::Unreachable));
            // One that ran beside it changes nothing.
            backoff.failed(
                began - Duration::from_nanos(1),
                ConnectError::new("db", Failure::TimedOut),
            );
            let delay = backoff.earliest(arrived).unwrap() - Instant::now();
            let full = Duration::from_secs(seconds);
            assert!(delay >= full / 2 && delay <= full, "{delay:?} of {full:?}");
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        let newcomer = backoff.earliest(Instant::now()).unwrap() - Instant::now();
        assert!(newcomer <= Duration::from_secs(1), "{newcomer:?}");
        backoff.succeeded();
        assert_eq!(backoff.earliest(arrived), None);
        assert!(backoff.last_failure().is_none());
    }
}
