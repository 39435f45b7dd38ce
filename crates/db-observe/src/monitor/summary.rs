//! A summary of samples.

use std::time::Duration;

use crate::monitor::sample::{Figures, Sample};

/// A summary of one pool's samples.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// How many samples there are.
    pub total_samples: usize,
    /// How many of them have numbers.
    pub valid_samples: usize,
    /// The share of samples without numbers, from 0 to 1.
    pub error_rate: f64,
    /// The means over the samples with numbers; `None` if there are none.
    pub means: Option<Means>,
    /// The longest response.
    pub max_response_time: Option<Duration>,
    /// The shortest response.
    pub min_response_time: Option<Duration>,
}

/// Means over samples.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Means {
    /// Connections open.
    pub total: f64,
    /// Connections in use.
    pub active: f64,
    /// Connections idle.
    pub idle: f64,
    /// Callers waiting.
    pub waiting: f64,
    /// How long the server took to answer.
    pub response_time: Duration,
}

impl Summary {
    pub(crate) fn of(samples: &[Sample]) -> Option<Self> {
        if samples.is_empty() {
            return None;
        }
        let valid: Vec<_> = samples.iter().filter_map(Sample::figures).collect();
        let responses = || valid.iter().map(|figures| figures.response_time);
        Some(Self {
            total_samples: samples.len(),
            valid_samples: valid.len(),
            error_rate: 1.0 - valid.len() as f64 / samples.len() as f64,
            means: means(&valid),
            max_response_time: responses().max(),
            min_response_time: responses().min(),
        })
    }
}

fn means(valid: &[&Figures]) -> Option<Means> {
    let count = u32::try_from(valid.len()).ok().filter(|count| *count > 0)?;
    let mean = |number: fn(&Figures) -> u32| {
        let sum: f64 = valid.iter().map(|figures| f64::from(number(figures))).sum();
        sum / f64::from(count)
    };
    let responses = valid.iter().map(|figures| figures.response_time);
    Some(Means {
        total: mean(|figures| figures.total),
        active: mean(|figures| figures.active),
        idle: mean(|figures| figures.idle),
        waiting: mean(|figures| figures.waiting),
        response_time: responses.sum::<Duration>() / count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::sample::SampleFailure;
    use std::time::SystemTime;

    fn sample(outcome: Result<(u32, u64), &str>) -> Sample {
        Sample {
            ports: None,
            pooler: None,
            pool: "p".into(),
            at: SystemTime::UNIX_EPOCH,
            outcome: outcome
                .map(|(active, response)| Figures {
                    server: None,
                    total: 4,
                    active,
                    idle: 4 - active,
                    waiting: 1,
                    response_time: Duration::from_millis(response),
                    connect_time: Duration::ZERO,
                    replica_lag: None,
                    wait_count: 0,
                    wait_duration: Duration::ZERO,
                })
                .map_err(|error| SampleFailure {
                    error: error.to_owned(),
                    is_connection_error: true,
                }),
        }
    }

    /// req 2.48, req 2.49
    #[test]
    fn a_summary_has_the_means_of_what_is_valid() {
        assert_eq!(Summary::of(&[]), None);
        let samples = [
            sample(Ok((1, 10))),
            sample(Err("gone")),
            sample(Ok((3, 30))),
        ];
        let summary = Summary::of(&samples).unwrap();
        assert_eq!((summary.total_samples, summary.valid_samples), (3, 2));
        assert!((summary.error_rate - 1.0 / 3.0).abs() < 1e-9);
        let means = summary.means.unwrap();
        assert_eq!((means.total, means.active, means.idle), (4.0, 2.0, 2.0));
        assert_eq!(means.response_time, Duration::from_millis(20));
        assert_eq!(summary.max_response_time, Some(Duration::from_millis(30)));
        assert_eq!(summary.min_response_time, Some(Duration::from_millis(10)));
    }

    /// req 2.49: only failures give an error rate of one, and no mean.
    #[test]
    fn failures_alone_are_a_rate_of_one() {
        let summary = Summary::of(&[sample(Err("a")), sample(Err("b"))]).unwrap();
        assert_eq!((summary.error_rate, summary.valid_samples), (1.0, 0));
        assert_eq!((summary.means, summary.max_response_time), (None, None));
    }
}
