//! How long callers queued.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::{Histogram, Quantiles};

/// The waits at one gate. A caller that does not wait costs one addition.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    at_once: AtomicU64,
    queued: Histogram,
    micros: AtomicU64,
}

impl Waits {
    /// Notes a caller that was let through at once.
    pub(crate) fn none(&self) {
        self.at_once.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a wait, however it ended.
    pub(crate) fn waited(&self, duration: Duration) {
        self.queued.record(duration);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many callers had to queue.
    pub(crate) fn count(&self) -> u64 {
        self.queued.count()
    }

    /// How long all of them queued in total.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    /// The quantiles over all callers, including callers that did not wait.
    pub(crate) fn quantiles(&self) -> Quantiles {
        self.queued
            .quantiles_beside(self.at_once.load(Ordering::Relaxed))
    }
}
