//! What a statement waited for, as a second session observed it.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::migrate::count::Count;

/// The lock that a statement did not get, the sessions that held it, and how long the migrator tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockWait {
    /// The table, or the kind of lock if it is not a table lock. `None` if the second session did not
    /// see it in time.
    pub on: Option<String>,
    /// The sessions that held the lock at the last look.
    pub blockers: Vec<Blocker>,
    /// How many other sessions queued behind this one at the last look.
    pub queued: usize,
    /// How often the migration was tried.
    pub attempts: u32,
    /// How long the migrator has tried since the first failure.
    pub tried_for: Duration,
}

/// A session that holds a lock which a migration waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Blocker {
    /// The server process, as in `pg_stat_activity`; 0 is a prepared transaction.
    pub pid: i32,
    /// The session's `application_name`; may be empty.
    pub application_name: String,
    /// `active`, `idle in transaction`, .. ; `None` if the role may not see it.
    pub state: Option<String>,
    /// How long its transaction has been open; `None` if the role may not see it.
    #[serde(rename = "open_for_s", serialize_with = "seconds")]
    pub open_for: Option<Duration>,
    /// Whether it is an autovacuum worker. The server cancels it for a session that waits longer than
    /// `deadlock_timeout`.
    pub autovacuum: bool,
    /// Whether that worker prevents a wraparound of transaction numbers. The server never cancels it.
    pub prevents_wraparound: bool,
}

impl fmt::Display for LockWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.on {
            Some(on) => write!(f, "waited for {on}")?,
            None => f.write_str("waited for a lock")?,
        }
        for (index, blocker) in self.blockers.iter().enumerate() {
            let before = if index == 0 { ", held by" } else { " and" };
            write!(f, "{before} {blocker}")?;
        }
        if self.queued > 0 {
            write!(
                f,
                ", with {} queued behind",
                Count(self.queued, "session", "sessions")
            )?;
        }
        if self.attempts > 1 {
            write!(
                f,
                ", in {} attempts over {:.0?}",
                self.attempts, self.tried_for
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("a prepared transaction");
        }
        write!(f, "backend {}", self.pid)?;
        let mut facts = Vec::new();
        if self.prevents_wraparound {
            facts.push("autovacuum to prevent wraparound, which is never cancelled".to_owned());
        } else if self.autovacuum {
            facts.push("autovacuum".to_owned());
        }
        if !self.application_name.is_empty() {
            facts.push(self.application_name.clone());
        }
        facts.extend(self.state.clone());
        if let Some(open_for) = self.open_for {
            facts.push(format!("for {} s", open_for.as_secs()));
        }
        if facts.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", facts.join(", "))
        }
    }
}

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_names_lock_holders_queue_and_attempts() {
        let blocker = Blocker {
            pid: 42,
            application_name: "pg_dump".to_owned(),
            state: Some("idle in transaction".to_owned()),
            open_for: Some(Duration::from_millis(63_500)),
            autovacuum: false,
            prevents_wraparound: false,
        };
        let hidden = Blocker {
            pid: 0,
            application_name: String::new(),
            state: None,
            open_for: None,
            autovacuum: false,
            prevents_wraparound: false,
        };
        let wait = LockWait {
            on: Some("table t1".to_owned()),
            blockers: vec![blocker, hidden],
            queued: 1,
            attempts: 3,
            tried_for: Duration::from_secs(12),
        };
        assert_eq!(
            wait.to_string(),
            "waited for table t1, held by backend 42 (pg_dump, idle in transaction, for 63 s) and a \
             prepared transaction, with 1 session queued behind, in 3 attempts over 12s"
        );
        assert_eq!(LockWait::default().to_string(), "waited for a lock");
    }
}
