//! A hold: who has a connection, since when, and what it is doing.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use db_wire::TransactionStatus;

/// One held connection, as the pool saw it at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hold {
    /// The source line that asked for the connection.
    pub call_site: &'static Location<'static>,
    /// How long the connection has been held.
    pub held: Duration,
    /// The name of the work in progress, if it has one.
    pub label: Option<&'static str>,
    /// Whether a transaction is open, as the holder sees it.
    pub transaction: TransactionStatus,
    /// How long the present statement has been running, if one is.
    pub running: Option<Duration>,
    /// The beginning of that statement, or of this holder's last one. It ends before the first
    /// literal, so it contains no value.
    pub statement: Option<Box<str>>,
    /// The tokio task that asked for the connection, if a task did.
    pub task: Option<tokio::task::Id>,
}

impl Hold {
    /// Whether it does nothing on the server: no statement runs and no transaction is open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && !self.is_in_transaction()
    }

    /// Whether a transaction is open, failed or not.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        matches!(
            self.transaction,
            TransactionStatus::InTransaction | TransactionStatus::Failed
        )
    }

    pub(crate) fn transaction_word(&self) -> &'static str {
        match self.transaction {
            TransactionStatus::Idle => "none",
            TransactionStatus::InTransaction => "open",
            TransactionStatus::Failed => "failed",
            _ => "unknown",
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {}", self.held, self.call_site)?;
        if let Some(label) = self.label {
            write!(f, " ({label})")?;
        }
        let place = match self.is_in_transaction() {
            true => "in a transaction",
            false => "outside a transaction",
        };
        match (self.running, &self.statement) {
            (Some(running), Some(statement)) => {
                write!(f, " {place}, running for {running:?}: {statement}")
            }
            (Some(running), None) => write!(f, " {place}, running a statement for {running:?}"),
            (None, Some(statement)) => write!(f, " idle {place}, last: {statement}"),
            (None, None) => write!(f, " idle {place}"),
        }
    }
}

/// The part of a statement that an error or an event may show: one line, cut before the first literal.
///
/// Placeholders stay. Text in quotes may be personal data or a password, and more people read an error
/// than a log.
pub(crate) fn shown(sql: &[u8]) -> Option<Box<str>> {
    let literal = |at: usize| match sql[at] {
        b'\'' => true,
        // `$1` is a placeholder, `$$` and `$tag$` begin a literal.
        b'$' => !sql.get(at + 1).is_some_and(u8::is_ascii_digit),
        _ => false,
    };
    let end = (0..sql.len()).find(|at| literal(*at));
    let text = String::from_utf8_lossy(&sql[..end.unwrap_or(sql.len())]);
    let words: Vec<_> = text
        .split(|char: char| char.is_whitespace() || char.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let mut line: String = words.join(" ").chars().take(MAX_SHOWN).collect();
    if line.is_empty() {
        return None;
    }
    if end.is_some() || text.len() > MAX_SHOWN {
        line.push('…');
    }
    Some(line.into())
}

/// How many characters of a statement are shown.
const MAX_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    /// case R49, case R63
    #[test]
    fn a_statement_is_shown_on_one_line_and_without_its_values() {
        let shown = |sql: &[u8]| shown(sql).unwrap_or_default().into_string();
        assert_eq!(shown(b"select  $1,\r\n\tx\x1b[31m"), "select $1, x [31m");
        assert_eq!(
            shown(b"alter role x password 'canary'"),
            "alter role x password…"
        );
        assert_eq!(shown(b"select E'it\\'s canary'"), "select E…");
        assert_eq!(shown(b"do $a$ canary $a$"), "do…");
        assert_eq!(shown(b" \n"), "");
        assert_eq!(shown(&[b'x'; 3 * MAX_SHOWN]).chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn a_hold_says_who_since_when_and_what_it_does() {
        let mut hold = Hold {
            call_site: Location::caller(),
            held: Duration::from_secs(75),
            label: None,
            transaction: TransactionStatus::Idle,
            running: None,
            statement: None,
            task: None,
        };
        let line = hold.call_site;
        assert!(hold.is_idle());
        assert_eq!(
            hold.to_string(),
            format!("75s by {line} idle outside a transaction")
        );
        hold.transaction = TransactionStatus::InTransaction;
        hold.label = Some("nightly");
        hold.statement = Some("select 1".into());
        assert!(!hold.is_idle());
        assert_eq!(
            hold.to_string(),
            format!("75s by {line} (nightly) idle in a transaction, last: select 1")
        );
        hold.running = Some(Duration::from_secs(71));
        assert_eq!(
            hold.to_string(),
            format!("75s by {line} (nightly) in a transaction, running for 71s: select 1")
        );
    }
}
