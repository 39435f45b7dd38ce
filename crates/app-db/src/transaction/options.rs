//! The options of a transaction: what BEGIN says of it, and which of them are refused.

use std::time::Duration;

use crate::error::invalid_options::{InvalidOption, MAX_LABEL};

/// What the server is told when a transaction begins.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) isolation: Option<&'static str>,
    pub(crate) access: &'static str,
    pub(crate) deferrable: bool,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) lock_timeout: Option<Duration>,
}

impl Options {
    /// The text that begins it.
    ///
    /// The wire holds it back as a whole and sends it with the first statement (`opening.rs` of db-pool), so
    /// that a timeout costs no round trip; `SET LOCAL` ends with the transaction, behind a pooler too.
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

/// A timeout by its name, unless it leaves no time.
pub(crate) fn some_time(name: &'static str, bound: Duration) -> Result<Duration, InvalidOption> {
    match bound.is_zero() {
        true => Err(InvalidOption::ZeroTimeout(name)),
        false => Ok(bound),
    }
}

/// A label that may stand in a log.
pub(crate) fn some_label(label: &'static str) -> Result<&'static str, InvalidOption> {
    if label.len() > MAX_LABEL {
        return Err(InvalidOption::LongLabel(label.len()));
    }
    match label.contains(db_pool::plumbing::breaks_a_line) {
        true => Err(InvalidOption::ControlCharacter(label)),
        false => Ok(label),
    }
}

/// Whole milliseconds as the server takes them: at least one, as zero would be no bound at all.
fn milliseconds(bound: Duration) -> u128 {
    let rounded_up = bound.as_nanos().div_ceil(1_000_000);
    rounded_up.clamp(1, MAX_MILLISECONDS)
}

/// The server's settings are 32-bit numbers with a sign.
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
