//! Times in the buckets of exported metrics, so that an exporter only has to read them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Times by the buckets of [`TimeBuckets::BOUNDS`]. Recording takes two additions, no lock and no memory.
#[derive(Debug, Default)]
pub(crate) struct TimeHistogram {
    counts: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// The durations of one kind of action since the pool began: counts by bucket, and the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeBuckets {
    /// How many times were at most as long as the bound in the same place, and longer than the bound before it.
    /// The last count is for all longer times.
    pub counts: [u64; BUCKETS],
    /// The sum of these times.
    pub sum: Duration,
}

impl TimeHistogram {
    /// Notes one time. A time of more than a day counts as a day in the sum.
    #[inline]
    pub(crate) fn record(&self, time: Duration) {
        let nanos = match time.as_secs() {
            seconds if seconds < A_DAY / A_SECOND => {
                seconds * A_SECOND + u64::from(time.subsec_nanos())
            }
            _ => A_DAY,
        };
        // The search begins with the shortest bound, where most times are.
        let bucket = NANOS.iter().position(|bound| nanos <= *bound);
        let bucket = bucket.unwrap_or(BUCKETS - 1);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> TimeBuckets {
        TimeBuckets {
            counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }

    /// The buckets of `all` times, which are counted elsewhere. Only times above zero are recorded here.
    pub(crate) fn read_among(&self, all: u64) -> TimeBuckets {
        let mut read = self.read();
        read.counts[0] += all.saturating_sub(read.count());
        read
    }
}

impl TimeBuckets {
    /// The upper bounds of all buckets except the last, which has none. A time equal to a bound counts as below
    /// it.
    pub const BOUNDS: [Duration; BUCKETS - 1] = {
        let mut bounds = [Duration::ZERO; BUCKETS - 1];
        let mut at = 0;
        while at < bounds.len() {
            bounds[at] = Duration::from_nanos(NANOS[at]);
            at += 1;
        }
        bounds
    };

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their mean, if there are any.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let count = self.count();
        (count > 0).then(|| Duration::from_secs_f64(self.sum.as_secs_f64() / count as f64))
    }

    /// How many times were longer than this bound. A time that is no bound stands for the next bound above it.
    #[must_use]
    pub fn above(&self, bound: Duration) -> u64 {
        let at = Self::BOUNDS.partition_point(|known| *known < bound);
        self.counts.iter().skip(at + 1).sum()
    }

    /// The bound that this share of the times, from 0 to 1, does not exceed. `None` if there are none, and
    /// [`Duration::MAX`] beyond the last bound.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let rank = (share * count as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let at = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        (count > 0).then(|| {
            at.and_then(|at| Self::BOUNDS.get(at))
                .copied()
                .unwrap_or(Duration::MAX)
        })
    }

    /// What was added since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            counts: std::array::from_fn(|at| self.counts[at].saturating_sub(earlier.counts[at])),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }
}

const BUCKETS: usize = 12;

/// 0.1 ms to 10 s. From 1 ms on, these are OpenTelemetry's recommendation for database operations. It has none
/// for connections, whose times are mostly shorter.
const NANOS: [u64; BUCKETS - 1] = [
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

const A_SECOND: u64 = 1_000_000_000;

const A_DAY: u64 = 24 * 60 * 60 * A_SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    /// req 3.21: each of ten thousand known times is in its bucket, including times on a bound and times of
    /// zero, and the sum is right.
    #[test]
    fn ten_thousand_times_are_in_their_buckets() {
        let histogram = TimeHistogram::default();
        let mut random = fastrand::Rng::with_seed(7);
        let mut times = vec![Duration::MAX];
        while times.len() < 8_000 {
            times.push(match times.len() % 3 {
                0 => TimeBuckets::BOUNDS[random.usize(..BUCKETS - 1)],
                1 => TimeBuckets::BOUNDS[random.usize(..BUCKETS - 1)] + Duration::from_nanos(1),
                _ => Duration::from_nanos(10_u64.pow(random.u32(1..11)) + random.u64(0..1_000)),
            });
        }
        times.iter().for_each(|time| histogram.record(*time));
        times.extend([Duration::ZERO; 2_000]);
        let read = histogram.read_among(10_000);
        for (at, bound) in TimeBuckets::BOUNDS.iter().enumerate() {
            let below = times.iter().filter(|time| *time <= bound).count() as u64;
            assert_eq!(read.counts[..=at].iter().sum::<u64>(), below, "{bound:?}");
            assert_eq!(read.above(*bound), 10_000 - below, "{bound:?}");
        }
        assert_eq!(read.count(), 10_000);
        let day = Duration::from_nanos(A_DAY);
        let sum: Duration = times.iter().map(|time| (*time).min(day)).sum();
        assert_eq!(read.sum, sum);
        let mean = read.mean().unwrap();
        assert!(
            mean.abs_diff(sum / 10_000) < Duration::from_micros(1),
            "{mean:?}"
        );
    }

    #[test]
    fn a_quantile_is_the_bound_that_so_many_keep() {
        let histogram = TimeHistogram::default();
        assert_eq!(histogram.read().quantile(0.99), None);
        assert_eq!(histogram.read().mean(), None);
        (0..98).for_each(|_| histogram.record(Duration::from_micros(700)));
        let earlier = histogram.read();
        (0..2).for_each(|_| histogram.record(Duration::from_secs(60)));
        let read = histogram.read();
        assert_eq!(read.quantile(0.98), Some(Duration::from_millis(1)));
        assert_eq!(read.quantile(0.99), Some(Duration::MAX));
        let since = read.since(&earlier);
        assert_eq!((since.count(), since.sum), (2, Duration::from_secs(120)));
    }
}
