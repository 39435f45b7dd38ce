//! The statements that diesel has begun. Each has its span and its values until the wire has seen its end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::Span;

use crate::fingerprint::MAX_READ;
use crate::telemetry::bound_values::BoundValues;

/// The statements that diesel has begun on one connection, until both diesel and the wire have ended them.
///
/// Diesel and the wire identify a statement by its text. Statements with the same text end in the order in
/// which they began, which is the order in which diesel sends them.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    statements: Mutex<Vec<Statement>>,
    /// How many there are, so that the common case of none needs only this count.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Statement {
    /// The text as it is sent.
    sql: String,
    /// `None` once the wire has ended it.
    kept: Option<Kept>,
    finished: bool,
}

/// The span and the values of a statement.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) span: Span,
    pub(crate) values: Option<BoundValues>,
}

impl Begun {
    pub(crate) fn push(&self, sql: String, kept: Kept) {
        let kept = Some(kept);
        let finished = false;
        self.change(|statements| {
            statements.push(Statement {
                sql,
                kept,
                finished,
            });
        });
    }

    /// Handles the end of a command on the wire.
    pub(crate) fn completed(&self, sql: &[u8]) -> Option<Kept> {
        // The wire keeps only the beginning of a long simple query.
        let is_it = |statement: &Statement| match sql.len() < MAX_READ {
            true => statement.sql.as_bytes() == sql,
            false => statement.sql.as_bytes().starts_with(sql),
        };
        let is_open = |statement: &Statement| statement.kept.is_some() && is_it(statement);
        self.change(|statements| {
            let at = statements.iter().position(is_open)?;
            match statements[at].finished {
                true => statements.remove(at).kept,
                false => statements[at].kept.take(),
            }
        })
    }

    /// Notes that diesel has ended a statement. Returns what was kept for it if the wire will not report it,
    /// because the server was never asked.
    pub(crate) fn finished(&self, sql: &str, is_working: bool) -> Option<Kept> {
        self.change(|statements| {
            let place = |is_completed: bool| {
                statements.iter().position(|statement| {
                    !statement.finished
                        && statement.kept.is_none() == is_completed
                        && statement.sql == sql
                })
            };
            match place(true) {
                Some(completed) => statements.remove(completed).kept,
                // While the server works on something, rows may still come, and the wire reports the end.
                None if is_working => {
                    let at = place(false)?;
                    statements[at].finished = true;
                    None
                }
                None => {
                    let at = place(false)?;
                    statements.remove(at).kept
                }
            }
        })
    }

    /// Drops all statements, because a holder has dropped a query.
    pub(crate) fn forget(&self) {
        if !self.is_empty() {
            let left = self.change(std::mem::take);
            // Dropped here and not under the lock, because a subscriber is foreign code.
            drop(left);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Statement>) -> T) -> T {
        let mut statements = self
            .statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut statements);
        self.count.store(statements.len(), Ordering::Release);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::bound_values::parted;
    use diesel::sql_types::Integer;

    const SQL: &str = "select $1";

    fn push(begun: &Begun, value: i32) {
        let query = diesel::sql_query(SQL).bind::<Integer, _>(value);
        let (sql, values) = parted(&diesel::debug_query::<diesel::pg::Pg, _>(&query), true);
        let span = Span::none();
        begun.push(sql, Kept { span, values });
    }

    fn shown(kept: Option<Kept>) -> Option<String> {
        Some(kept?.values?.revealed().to_owned())
    }

    /// In a pipeline, the end of one statement does not take what is kept for the next one, which has not been
    /// sent yet.
    #[test]
    fn who_has_one_text_in_a_pipeline_is_told_apart() {
        let begun = Begun::default();
        (1..=2).for_each(|value| push(&begun, value));
        assert_eq!(shown(begun.completed(SQL.as_bytes())).unwrap(), "[1]");
        assert!(begun.finished(SQL, false).is_none());
        assert_eq!(shown(begun.completed(SQL.as_bytes())).unwrap(), "[2]");
        assert!(begun.finished(SQL, true).is_none());
        assert!(begun.is_empty());
    }

    /// Diesel ends a statement with its first row, and the wire with its last. Some statements never reach the
    /// wire.
    #[test]
    fn either_of_the_two_may_be_first() {
        let begun = Begun::default();
        (1..=2).for_each(|value| push(&begun, value));
        assert!(begun.finished(SQL, true).is_none());
        assert_eq!(shown(begun.completed(SQL.as_bytes())).unwrap(), "[1]");
        assert!(begun.completed(b"select 1").is_none());
        assert_eq!(shown(begun.finished(SQL, false)).unwrap(), "[2]");
        assert!(begun.is_empty());
        push(&begun, 3);
        begun.forget();
        assert!(begun.is_empty() && begun.completed(SQL.as_bytes()).is_none());
    }
}
