//! An alert: the message when a rule starts or stops firing.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Somebody should look at it soon.
    Warning,
    /// Somebody should be woken.
    Critical,
}

/// Whether the problem of the alert goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlertState {
    /// It goes on.
    Firing,
    /// It is over.
    Resolved,
}

/// The message of one rule about one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alert {
    /// The name of the rule.
    pub rule: &'static str,
    /// The pool.
    pub pool: Arc<str>,
    /// How urgent it is.
    pub level: Level,
    /// Whether it goes on.
    pub state: AlertState,
    /// What is wrong, on one line and without values of statements.
    pub message: String,
    /// When this was found.
    pub at: SystemTime,
    /// When the rule began to fire.
    pub started: SystemTime,
}

impl Alert {
    /// Sixteen hexadecimal digits, the same for every alert of this rule and pool. A receiver can match the end
    /// of an alert to its beginning.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        // FNV-1a, which is the same in every process and release.
        let bytes = self.rule.bytes().chain([0]).chain(self.pool.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{hash:016x}")
    }

    /// The alert on one line: `[CRITICAL] … at 2026-08-01T12:00:00Z`.
    #[must_use]
    pub fn line(&self) -> String {
        let at = humantime::format_rfc3339_seconds(self.at);
        let over = match self.state {
            AlertState::Firing => "",
            AlertState::Resolved => "resolved: ",
        };
        format!("[{}] {over}{} at {at}", self.level, self.message)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        })
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::time::Duration;

    pub(crate) fn alert(level: Level, state: AlertState, message: &str) -> Alert {
        Alert {
            rule: "PoolFull",
            pool: "write".into(),
            level,
            state,
            message: message.to_owned(),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_585_600),
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_585_000),
        }
    }

    /// req 3.25, req 3.26
    #[test]
    fn an_alert_is_one_line_with_level_and_time() {
        let mut full = alert(Level::Critical, AlertState::Firing, "pool `write` is full");
        assert_eq!(
            full.line(),
            "[CRITICAL] pool `write` is full at 2026-08-01T12:00:00Z"
        );
        let fingerprint = full.fingerprint();
        full.state = AlertState::Resolved;
        full.message.push('!');
        assert_eq!(
            full.line(),
            "[CRITICAL] resolved: pool `write` is full! at 2026-08-01T12:00:00Z"
        );
        assert_eq!(full.fingerprint(), fingerprint);
        full.pool = "read".into();
        assert_ne!(full.fingerprint(), fingerprint);
    }
}
