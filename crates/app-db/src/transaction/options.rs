//! The options of a transaction: the text of its BEGIN, and the check of their values.

use std::time::Duration;

use crate::error::invalid_options::{InvalidOption, MAX_LABEL};

/// The options that BEGIN passes to the server.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) isolation: Option<&'static str>,
    pub(crate) access: &'static str,
    pub(crate) deferrable: bool,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) lock_timeout: Option<Duration>,
}

impl Options {
    /// The default options of a pool that only reads, or of another pool.
    pub(crate) fn of(read_only: bool) -> Self {
        Self {
            access: if read_only { "READ ONLY" } else { "READ WRITE" },
            ..Self::default()
        }
    }

    /// The SQL that begins the transaction.
    ///
    /// The wire holds this text back and sends it with the first statement, so that the timeouts cost
    /// no round trip. `SET LOCAL` ends with the transaction, also behind a pooler.
    pub(crate) fn begin(&self) -> String {
        let mut sql = String::from("BEGIN TRANSACTION");
        if let Some(isolation) = self.isolation {
            sql.push_str(" ISOLATION LEVEL ");
            sql.push_str(isolation);
        }
        sql.push(' ');
        sql.push_str(self.access);
        if self.deferrable {
            sql.push_str(" DEFERRABLE");
        }
        let timeouts = [
            ("statement_timeout", self.statement_timeout),
            ("lock_timeout", self.lock_timeout),
        ];
        for (name, bound) in timeouts {
            if let Some(bound) = bound {
                sql.push_str(&format!("; SET LOCAL {name} = {}", milliseconds(bound)));
            }
        }
        sql
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            isolation: None,
            access: "READ WRITE",
            deferrable: false,
            statement_timeout: None,
            lock_timeout: None,
        }
    }
}

/// Accepts a timeout, unless it is zero.
pub(crate) fn some_time(name: &'static str, bound: Duration) -> Result<Duration, InvalidOption> {
    match bound.is_zero() {
        true => Err(InvalidOption::ZeroTimeout(name)),
        false => Ok(bound),
    }
}

/// Accepts a label, unless it would spoil a log.
pub(crate) fn some_label(label: &'static str) -> Result<&'static str, InvalidOption> {
    if label.len() > MAX_LABEL {
        return Err(InvalidOption::LongLabel(label.len()));
    }
    match label.contains(db_pool::plumbing::breaks_a_line) {
        true => Err(InvalidOption::ControlCharacter(label)),
        false => Ok(label),
    }
}

/// Whole milliseconds, as the server takes them. At least one, because zero would mean no limit.
fn milliseconds(bound: Duration) -> u128 {
    let rounded_up = bound.as_nanos().div_ceil(1_000_000);
    rounded_up.clamp(1, MAX_MILLISECONDS)
}

/// The server stores settings as signed 32-bit numbers.
const MAX_MILLISECONDS: u128 = i32::MAX as u128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_says_what_was_asked_for() {
        assert_eq!(Options::default().begin(), "BEGIN TRANSACTION READ WRITE");
        let full = Options {
            isolation: Some("SERIALIZABLE"),
            access: "READ ONLY",
            deferrable: true,
            statement_timeout: Some(Duration::from_micros(1)),
            lock_timeout: Some(Duration::MAX),
        };
        assert_eq!(
            full.begin(),
            "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; \
             SET LOCAL statement_timeout = 1; SET LOCAL lock_timeout = 2147483647"
        );
    }
}
