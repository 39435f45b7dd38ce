//! Alerts and their delivery as plain data.

use serde::{Deserialize, Serialize};

use crate::alerts::alert::Alert;
use crate::alerts::outbox::OutboxStatus;
use crate::report::written::rfc3339;

/// One alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AlertReport {
    /// `firing` for an alert that goes on now, `told` and `resolved` for one that was sent.
    pub state: String,
    /// The rule.
    pub rule: String,
    /// The pool.
    pub pool: String,
    /// `WARNING` or `CRITICAL`.
    pub level: String,
    /// What is wrong.
    pub message: String,
    /// When it was sent.
    pub at: String,
    /// When it began.
    pub started: String,
}

/// The delivery to one sink.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SinkReport {
    /// What kind it is.
    pub sink: String,
    /// Alerts still to be sent.
    pub queued: usize,
    /// Alerts sent.
    pub sent: u64,
    /// Alerts dropped for newer ones.
    pub dropped: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Why the last attempt failed, until one succeeds.
    pub last_failure: Option<String>,
}

impl AlertReport {
    pub(crate) fn of(alert: &Alert, state: &str) -> Self {
        Self {
            state: state.to_owned(),
            rule: alert.rule.to_owned(),
            pool: alert.pool.to_string(),
            level: alert.level.to_string(),
            message: alert.message.clone(),
            at: rfc3339(alert.at),
            started: rfc3339(alert.started),
        }
    }
}

impl SinkReport {
    pub(crate) fn of(status: &OutboxStatus) -> Self {
        Self {
            sink: status.sink.to_owned(),
            queued: status.queued,
            sent: status.sent,
            dropped: status.dropped,
            failed: status.failed,
            last_failure: status.last_failure.clone(),
        }
    }
}
