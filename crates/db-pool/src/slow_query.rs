//! The slow-query log: one event for each statement that took longer than the threshold.
//!
//! It is told by the wire, so that a statement whose rows stream for a second counts a second.

use std::sync::Arc;
use std::time::Duration;

use crate::observer::Activity;
use crate::wire::{Command, Watcher};

/// Whoever hears of every command of one connection and logs the slow ones.
pub(crate) fn watcher(pool: Arc<str>, threshold: Duration, activity: Arc<Activity>) -> Watcher {
    Box::new(move |command: &Command<'_>| {
        if command.duration < threshold {
            return;
        }
        activity.count_slow();
        tracing::warn!(
            target: "app_db::slow_query",
            pool = &*pool,
            label = activity.label(),
            duration_ms = command.duration.as_millis() as u64,
            rows = command.rows,
            in_transaction = command.in_transaction,
            failed = command.failed,
            sql = one_line(command.sql),
            "slow query"
        );
    })
}

/// The text on one line: a line break or an escape sequence in a comment must not forge a line of the log.
fn one_line(sql: &[u8]) -> String {
    String::from_utf8_lossy(sql)
        .chars()
        .take(MAX_TEXT)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

/// How many characters of a statement are logged.
const MAX_TEXT: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Case R63
    #[test]
    fn a_comment_forges_no_line_and_a_long_text_is_cut() {
        let text = one_line(b"select 1 /* \r\n\x1b[31mforged */");
        assert_eq!(text, "select 1 /*    [31mforged */");
        assert_eq!(one_line(&[b'x'; 3 * MAX_TEXT]).len(), MAX_TEXT);
    }
}
