//! How long each part of connecting took.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::serialized::seconds;

/// The parts of one successful connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConnectPhases {
    /// Resolving the host's name.
    #[serde(serialize_with = "seconds")]
    pub dns: Duration,
    /// Opening the socket.
    #[serde(serialize_with = "seconds")]
    pub tcp: Duration,
    /// Agreeing on TLS; almost zero without TLS.
    #[serde(serialize_with = "seconds")]
    pub tls: Duration,
    /// Logging in, until the server named its backend.
    #[serde(serialize_with = "seconds")]
    pub authentication: Duration,
    /// Examining the other end, and the session's settings.
    #[serde(serialize_with = "seconds")]
    pub set_up: Duration,
}

impl ConnectPhases {
    /// The sum of all parts.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.dns + self.tcp + self.tls + self.authentication + self.set_up
    }
}

impl fmt::Display for ConnectPhases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |part: Duration| part.as_secs_f64() * 1_000.0;
        write!(
            f,
            "{:.1} ms (name {:.1}, TCP {:.1}, TLS {:.1}, login {:.1}, set-up {:.1})",
            ms(self.total()),
            ms(self.dns),
            ms(self.tcp),
            ms(self.tls),
            ms(self.authentication),
            ms(self.set_up)
        )
    }
}

/// The moments at which these parts end. Each is noted when it is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) began: Instant,
    pub(crate) resolved: Instant,
    pub(crate) opened: Instant,
    pub(crate) secured: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            resolved: now,
            opened: now,
            secured: now,
        }
    }

    /// The parts. The login was over at `logged_in`, and everything is done now.
    pub(crate) fn phases(&self, logged_in: Option<Instant>) -> ConnectPhases {
        let logged_in = logged_in.unwrap_or(self.secured);
        let between = |from: Instant, to: Instant| to.saturating_duration_since(from);
        ConnectPhases {
            dns: between(self.began, self.resolved),
            tcp: between(self.resolved, self.opened),
            tls: between(self.opened, self.secured),
            authentication: between(self.secured, logged_in),
            set_up: logged_in.elapsed(),
        }
    }
}
