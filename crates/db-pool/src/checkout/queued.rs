//! A caller that has asked for a connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::registry::Registry;

/// When a caller began to wait, and how many callers had been served by then.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) arrived: Instant,
    pub(crate) handed_out: u64,
}

impl Queued {
    pub(crate) fn at(arrived: Instant, registry: &Registry) -> Self {
        Self {
            arrived,
            handed_out: registry.handed_out(),
        }
    }

    pub(crate) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.arrived)
    }
}
