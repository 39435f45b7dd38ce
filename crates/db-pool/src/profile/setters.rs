//! Builds a profile in one expression, for a service that does not use this configuration.

use std::sync::Arc;
use std::time::Duration;

use crate::profile::{PoolProfile, PoolerMode, Reconnect, Reset, Via};

/// Each method sets the field of the same name:
/// `PoolProfile::of(&Environment::Prod).name("jobs").max(4)`.
impl PoolProfile {
    /// The pool's name in logs and errors.
    #[must_use]
    pub fn name(mut self, value: impl Into<Arc<str>>) -> Self {
        self.name = value.into();
        self
    }

    /// Which URL the pool connects with.
    #[must_use]
    pub fn via(mut self, value: Via) -> Self {
        self.via = value;
        self
    }

    /// The maximum of live connections.
    #[must_use]
    pub fn max(mut self, value: u32) -> Self {
        self.max = value;
        self
    }

    /// The largest `max` that a resize may set.
    #[must_use]
    pub fn ceiling(mut self, value: u32) -> Self {
        self.ceiling = value;
        self
    }

    /// How many idle connections the pool keeps ready.
    #[must_use]
    pub fn min_idle(mut self, value: u32) -> Self {
        self.min_idle = value;
        self
    }

    /// How many callers may wait for a connection.
    #[must_use]
    pub fn max_waiting(mut self, value: Option<u32>) -> Self {
        self.max_waiting = value;
        self
    }

    /// How long a caller waits for a connection.
    #[must_use]
    pub fn checkout_timeout(mut self, value: Duration) -> Self {
        self.checkout_timeout = value;
        self
    }

    /// How long one attempt to connect may take.
    #[must_use]
    pub fn connect_timeout(mut self, value: Duration) -> Self {
        self.connect_timeout = value;
        self
    }

    /// After how long an idle connection is closed.
    #[must_use]
    pub fn idle_timeout(mut self, value: Option<Duration>) -> Self {
        self.idle_timeout = value;
        self
    }

    /// After how long a connection is replaced.
    #[must_use]
    pub fn max_lifetime(mut self, value: Option<Duration>) -> Self {
        self.max_lifetime = value;
        self
    }

    /// After how many checkouts a connection is replaced.
    #[must_use]
    pub fn max_uses(mut self, value: u32) -> Self {
        self.max_uses = value;
        self
    }

    /// How long a connection may have been idle and still be handed out without a ping.
    #[must_use]
    pub fn validate_after(mut self, value: Duration) -> Self {
        self.validate_after = value;
        self
    }

    /// How long that ping may take.
    #[must_use]
    pub fn validation_timeout(mut self, value: Duration) -> Self {
        self.validation_timeout = value;
        self
    }

    /// How long the server may be silent on a statement without `statement_timeout`.
    #[must_use]
    pub fn answer_timeout(mut self, value: Option<Duration>) -> Self {
        self.answer_timeout = value;
        self
    }

    /// After how long the pool reports a hold as too long.
    #[must_use]
    pub fn leak_threshold(mut self, value: Option<Duration>) -> Self {
        self.leak_threshold = value;
        self
    }

    /// What stands between this pool and the server.
    #[must_use]
    pub fn pooler(mut self, value: PoolerMode) -> Self {
        self.pooler = value;
        self
    }

    /// When a session is reset on the return of its connection.
    #[must_use]
    pub fn reset(mut self, value: Reset) -> Self {
        self.reset = value;
        self
    }

    /// The session's `statement_timeout`.
    #[must_use]
    pub fn statement_timeout(mut self, value: Option<Duration>) -> Self {
        self.statement_timeout = value;
        self
    }

    /// The session's `lock_timeout`.
    #[must_use]
    pub fn lock_timeout(mut self, value: Option<Duration>) -> Self {
        self.lock_timeout = value;
        self
    }

    /// The session's `idle_in_transaction_session_timeout`.
    #[must_use]
    pub fn idle_in_transaction_session_timeout(mut self, value: Option<Duration>) -> Self {
        self.idle_in_transaction_session_timeout = value;
        self
    }

    /// The name shown in `pg_stat_activity`.
    #[must_use]
    pub fn application_name(mut self, value: impl Into<String>) -> Self {
        self.application_name = value.into();
        self
    }

    /// The session's `search_path`.
    #[must_use]
    pub fn search_path(mut self, value: impl Into<String>) -> Self {
        self.search_path = Some(value.into());
        self
    }

    /// The role whose rights the sessions have.
    #[must_use]
    pub fn role(mut self, value: impl Into<String>) -> Self {
        self.role = Some(value.into());
        self
    }

    /// Whether transactions are READ ONLY unless they say otherwise.
    #[must_use]
    pub fn read_only(mut self, value: bool) -> Self {
        self.read_only = value;
        self
    }

    /// After which duration the pool logs a statement as slow.
    #[must_use]
    pub fn slow_query(mut self, value: Option<Duration>) -> Self {
        self.slow_query = value;
        self
    }

    /// When and how often the pool tries again to connect.
    #[must_use]
    pub fn reconnect(mut self, value: Reconnect) -> Self {
        self.reconnect = value;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use db_config::Environment;

    #[test]
    fn a_profile_is_made_in_one_expression() {
        let profile = PoolProfile::of(&Environment::Prod)
            .name("jobs")
            .max(4)
            .statement_timeout(None)
            .role("worker")
            .read_only(true);
        assert_eq!(
            (&*profile.name, profile.max, profile.read_only),
            ("jobs", 4, true)
        );
        assert_eq!(
            (profile.statement_timeout, profile.role.as_deref()),
            (None, Some("worker"))
        );
        assert_eq!(profile.min_idle, 10);
    }
}
