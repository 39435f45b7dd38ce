//! The looks of the monitor as plain data.

use serde::{Deserialize, Serialize};

use crate::monitor::sample::Sample;
use crate::monitor::summary::Summary;
use crate::report::written::{millis, rfc3339};

/// One look of the monitor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SampleReport {
    /// When, as RFC 3339.
    pub timestamp: String,
    /// Connections open.
    pub total: Option<u32>,
    /// Connections in use.
    pub active: Option<u32>,
    /// Connections idle.
    pub idle: Option<u32>,
    /// Callers waiting.
    pub waiting: Option<u32>,
    /// How long the server took to answer.
    pub response_time_ms: Option<f64>,
    /// Why there are no numbers.
    pub error: Option<String>,
    /// Whether there was no session.
    pub is_connection_error: Option<bool>,
}

/// A summary of the monitor's looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SummaryReport {
    /// How many samples there are.
    pub total_samples: usize,
    /// How many have numbers.
    pub valid_samples: usize,
    /// The share without numbers.
    pub error_rate: f64,
    /// Means over the samples with numbers.
    pub mean_total: Option<f64>,
    /// Connections in use.
    pub mean_active: Option<f64>,
    /// Connections idle.
    pub mean_idle: Option<f64>,
    /// Callers waiting.
    pub mean_waiting: Option<f64>,
    /// How long the server took.
    pub mean_response_time_ms: Option<f64>,
    /// The longest.
    pub max_response_time_ms: Option<f64>,
    /// The shortest.
    pub min_response_time_ms: Option<f64>,
}

impl SampleReport {
    pub(crate) fn of(sample: &Sample) -> Self {
        let timestamp = rfc3339(sample.at);
        match &sample.outcome {
            Ok(figures) => Self {
                timestamp,
                total: Some(figures.total),
                active: Some(figures.active),
                idle: Some(figures.idle),
                waiting: Some(figures.waiting),
                response_time_ms: Some(millis(figures.response_time)),
                ..Self::default()
            },
            Err(failure) => Self {
                timestamp,
                error: Some(failure.error.clone()),
                is_connection_error: Some(failure.is_connection_error),
                ..Self::default()
            },
        }
    }
}

impl SummaryReport {
    pub(crate) fn of(summary: &Summary) -> Self {
        let means = summary.means.as_ref();
        Self {
            total_samples: summary.total_samples,
            valid_samples: summary.valid_samples,
            error_rate: summary.error_rate,
            mean_total: means.map(|means| means.total),
            mean_active: means.map(|means| means.active),
            mean_idle: means.map(|means| means.idle),
            mean_waiting: means.map(|means| means.waiting),
            mean_response_time_ms: means.map(|means| millis(means.response_time)),
            max_response_time_ms: summary.max_response_time.map(millis),
            min_response_time_ms: summary.min_response_time.map(millis),
        }
    }
}
