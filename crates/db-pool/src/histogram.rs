//! A histogram of durations, for quantiles from counts and not from a mean.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::serialized::seconds;

/// How often each duration occurred, in microseconds and to two significant digits.
///
/// Recording takes a lock for some tens of nanoseconds. The histogram begins with about a kilobyte and
/// grows with the longest duration, to some 30 kB for an hour.
pub(crate) struct Histogram(Mutex<hdrhistogram::Histogram<u64>>);

/// Durations in microseconds, each with how often it was recorded.
pub type Recorded = Vec<(u64, u64)>;

/// The content of a [`Histogram`] in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Quantiles {
    /// How many durations were recorded.
    pub count: u64,
    /// Their mean.
    #[serde(serialize_with = "seconds")]
    pub mean: Duration,
    /// Half of them were no longer.
    #[serde(serialize_with = "seconds")]
    pub p50: Duration,
    /// 95 of 100 were no longer.
    #[serde(serialize_with = "seconds")]
    pub p95: Duration,
    /// 99 of 100 were no longer.
    #[serde(serialize_with = "seconds")]
    pub p99: Duration,
    /// The longest.
    #[serde(serialize_with = "seconds")]
    pub max: Duration,
}

impl Histogram {
    /// Notes one duration. A duration of more than a day counts as a day.
    pub(crate) fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros())
            .unwrap_or(A_DAY)
            .min(A_DAY);
        // The histogram resizes itself, so it refuses nothing below its maximum.
        let _in_range = self.lock().record(micros);
    }

    /// How many durations were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.lock().len()
    }

    /// The durations as microseconds, each with how often it was recorded.
    pub(crate) fn recorded(&self) -> Recorded {
        let recorded = self.lock();
        let values = recorded.iter_recorded();
        values
            .map(|value| (value.value_iterated_to(), value.count_at_value()))
            .collect()
    }

    /// Adds everything that another histogram holds.
    pub(crate) fn add(&self, other: &Self) {
        let other = other.lock().clone();
        // It resizes itself too.
        let _in_range = self.lock().add(&other);
    }

    /// The quantiles of everything recorded so far.
    pub(crate) fn quantiles(&self) -> Quantiles {
        self.quantiles_beside(0)
    }

    /// The quantiles as if `zeros` durations of zero had been recorded too.
    pub(crate) fn quantiles_beside(&self, zeros: u64) -> Quantiles {
        let recorded = self.lock();
        let count = recorded.len() + zeros;
        // The zeros are the shortest, so a rank after them is a rank among the recorded durations.
        let at = |quantile: f64| match (quantile * count as f64).ceil() as u64 {
            rank if rank <= zeros => Duration::ZERO,
            rank => {
                let among = (rank - zeros) as f64 / recorded.len() as f64;
                Duration::from_micros(recorded.value_at_quantile(among))
            }
        };
        Quantiles {
            count,
            mean: Duration::from_secs_f64(
                recorded.mean() / 1e6 * (recorded.len() as f64 / count.max(1) as f64),
            ),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: Duration::from_micros(recorded.max()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, hdrhistogram::Histogram<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Histogram {
    #[expect(
        clippy::expect_used,
        reason = "two digits are within the bounds of 0 to 5"
    )]
    fn default() -> Self {
        Self(Mutex::new(
            hdrhistogram::Histogram::new(2).expect("two significant digits"),
        ))
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Histogram").field(&self.quantiles()).finish()
    }
}

const A_DAY: u64 = 24 * 60 * 60 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// req 3.21, req 4.33: a few long waits among many short ones stay visible.
    #[test]
    fn quantiles_are_counted() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantiles(), Quantiles::default());
        for _ in 0..980 {
            histogram.record(Duration::from_millis(1));
        }
        for _ in 0..20 {
            histogram.record(Duration::from_secs(2));
        }
        histogram.record(Duration::MAX);
        let quantiles = histogram.quantiles();
        assert_eq!(quantiles.count, 1001);
        let close = |seen: Duration, wanted: Duration| seen.abs_diff(wanted) <= wanted / 100;
        assert!(
            close(quantiles.p50, Duration::from_millis(1)),
            "{quantiles:?}"
        );
        assert!(
            close(quantiles.p95, Duration::from_millis(1)),
            "{quantiles:?}"
        );
        assert!(
            close(quantiles.p99, Duration::from_secs(2)),
            "{quantiles:?}"
        );
        assert!(
            close(quantiles.max, Duration::from_secs(24 * 60 * 60)),
            "{quantiles:?}"
        );
    }

    /// req 3.21: callers that did not wait count in a quantile of waits, without being recorded one by one.
    #[test]
    fn zeros_beside_what_is_recorded_count_as_if_they_were() {
        let (short, long) = (Histogram::default(), Histogram::default());
        assert_eq!(short.quantiles_beside(7).count, 7);
        assert_eq!(short.quantiles_beside(7).max, Duration::ZERO);
        for histogram in [&short, &long] {
            (1..=60).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        }
        (0..940).for_each(|_| long.record(Duration::ZERO));
        let (beside, recorded) = (short.quantiles_beside(940), long.quantiles());
        assert_eq!(beside.p95, recorded.p95);
        assert!(beside.p95 > Duration::from_millis(9) && beside.p50.is_zero());
        assert_eq!((beside.p99, beside.max), (recorded.p99, recorded.max));
        assert!(beside.mean.abs_diff(recorded.mean) < Duration::from_micros(2));
    }
}
