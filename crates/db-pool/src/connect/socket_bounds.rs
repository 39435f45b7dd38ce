//! How long the kernel waits for a peer that is gone.

use std::time::Duration;

use db_config::Endpoint;

/// The kernel's settings for a socket, unless the URL sets them. `None` keeps the system's value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketBounds {
    pub(crate) keepalive_idle: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
}

impl SocketBounds {
    pub(crate) fn apply(self, endpoint: &Endpoint, config: &mut tokio_postgres::Config) {
        config.keepalives(endpoint.keepalives);
        if let Some(bound) = endpoint.tcp_user_timeout.or(self.user_timeout) {
            config.tcp_user_timeout(bound);
        }
        // With the system's own intervals between probes, the kernel would notice a lost peer only after
        // eleven minutes.
        let ours = self.keepalive_idle;
        if let Some(idle) = endpoint.keepalives_idle.or(ours) {
            config.keepalives_idle(idle);
        }
        let interval = endpoint.keepalives_interval;
        if let Some(interval) = interval.or(ours.and(Some(PROBE_INTERVAL))) {
            config.keepalives_interval(interval);
        }
        let retries = endpoint.keepalives_retries;
        if let Some(retries) = retries.or(ours.and(Some(PROBES))) {
            config.keepalives_retries(retries);
        }
    }
}

/// The interval between keepalive probes after the first one, and the number of unanswered probes after which
/// the peer counts as gone.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
