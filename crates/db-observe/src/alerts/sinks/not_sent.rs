//! Why an alert was not sent.

use std::time::Duration;

/// Why an alert was not sent. It contains neither the sink's address nor a secret.
#[derive(Debug)]
pub(crate) struct NotSent {
    pub(crate) reason: String,
    /// How long the sink asks us to wait before the next attempt.
    pub(crate) retry_after: Option<Duration>,
}

impl NotSent {
    #[cfg(any(feature = "webhook", feature = "mail"))]
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retry_after: None,
        }
    }
}
