//! A family: one metric with its series.

use std::borrow::Cow;
use std::time::Duration;

use app_db::db_pool::TimeBuckets;

/// One metric under its OpenTelemetry name. Prometheus has `_` in the place of each dot.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) definition: &'static Definition,
    pub(crate) series: Vec<Series>,
}

/// What a metric is.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    /// As OpenTelemetry writes it: `s`, or `{connection}`, which Prometheus leaves out.
    pub(crate) unit: &'static str,
    pub(crate) kind: MetricKind,
}

/// How a metric changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down, and its series can be added up.
    UpDownCounter,
    /// It goes up and down.
    Gauge,
    /// Times by buckets, from this bound on.
    Histogram { first: Duration },
}

/// The value of a family for one set of labels.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) labels: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) value: Value,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Count(u64),
    Number(f64),
    Times(TimeBuckets),
}

impl Family {
    pub(crate) fn new(definition: &'static Definition) -> Self {
        Self {
            definition,
            series: Vec::new(),
        }
    }

    pub(crate) fn push(
        &mut self,
        labels: impl IntoIterator<Item = (&'static str, Cow<'static, str>)>,
        value: Value,
    ) {
        self.series.push(Series {
            labels: labels.into_iter().collect(),
            value,
        });
    }
}

impl Definition {
    /// The name without the unit and `_total`, which the encoder adds.
    pub(crate) fn prometheus_name(&self) -> String {
        self.name.replace('.', "_")
    }
}

/// The bounds of a histogram from `first` on, each with the count of times above the previous bound. The last
/// bound is infinite.
pub(crate) fn buckets_from(times: &TimeBuckets, first: Duration) -> Vec<(f64, u64)> {
    let skipped = TimeBuckets::BOUNDS.partition_point(|bound| *bound < first);
    let below: u64 = times.counts[..skipped].iter().sum();
    let mut buckets: Vec<_> = TimeBuckets::BOUNDS
        .iter()
        .map(Duration::as_secs_f64)
        .chain([f64::INFINITY])
        .zip(times.counts)
        .skip(skipped)
        .collect();
    buckets[0].1 += below;
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_first_bound_is_in_the_first_bucket() {
        let mut times = TimeBuckets::default();
        times.counts = std::array::from_fn(|at| 1 << at);
        let all = buckets_from(&times, Duration::ZERO);
        assert_eq!((all.len(), all[0]), (12, (0.0001, 1)));
        assert_eq!(all[11], (f64::INFINITY, 1 << 11));
        let some = buckets_from(&times, Duration::from_millis(1));
        assert_eq!((some.len(), some[0]), (10, (0.001, 1 + 2 + 4)));
        assert_eq!(some[1], (0.005, 8));
    }
}
