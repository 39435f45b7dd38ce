//! The result of a statement, and when two results are the same.

use std::fmt::Write;

use diesel::result::Error as QueryError;

use crate::raw::{Raw, Row};

/// The result of a statement, as a client of diesel-async sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A simple query succeeded.
    Done,
    /// The number of affected rows.
    Count(usize),
    Rows(Rows),
    Failed(Failure),
    /// It did not answer in time.
    Silent,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// The columns' names; empty if there are no rows.
    names: Vec<String>,
    rows: Vec<Row>,
}

impl Rows {
    pub(crate) fn of(raw: Vec<Raw>) -> Self {
        let names = raw.first().map(|row| row.names.clone());
        Self {
            names: names.unwrap_or_default(),
            rows: raw.into_iter().map(|row| row.values).collect(),
        }
    }

    /// The first two columns as text.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        let text = |value: Option<&Option<(u32, Vec<u8>)>>| match value {
            Some(Some((_, bytes))) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        self.rows
            .iter()
            .map(move |row| (text(row.first()), text(row.get(1))))
    }

    fn is_like(&self, other: &Self) -> bool {
        self.names == other.names
            && self.rows.len() == other.rows.len()
            && self.rows.iter().zip(&other.rows).all(|(one, other)| {
                one.len() == other.len()
                    && one.iter().zip(other).all(|pair| match pair {
                        (Some(one), Some(other)) => is_like(one, other),
                        (one, other) => one == other,
                    })
            })
    }
}

/// How a statement failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The server's SQLSTATE; `None` if the client itself failed.
    pub(crate) sqlstate: Option<String>,
    pub(crate) message: String,
    detail: Option<String>,
    hint: Option<String>,
    /// Table, column and constraint.
    objects: [Option<String>; 3],
    position: Option<i32>,
}

impl Failure {
    pub(crate) fn of(error: &QueryError, sqlstate: Option<String>) -> Self {
        let QueryError::DatabaseError(_, told) = error else {
            return Self {
                sqlstate,
                message: error.to_string(),
                detail: None,
                hint: None,
                objects: [None, None, None],
                position: None,
            };
        };
        let owned = |text: Option<&str>| text.map(unnumbered);
        Self {
            sqlstate,
            message: unnumbered(told.message()),
            detail: owned(told.details()),
            hint: owned(told.hint()),
            objects: [
                told.table_name(),
                told.column_name(),
                told.constraint_name(),
            ]
            .map(owned),
            position: told.statement_position(),
        }
    }

    /// Whether the connection cannot be used any more.
    pub(crate) fn ends_the_connection(&self) -> bool {
        let code = self.sqlstate.as_deref().unwrap_or_default();
        code.starts_with("57P")
            || code.starts_with("08")
            || self.message.contains("connection closed")
    }
}

impl Answer {
    /// Whether a client could not tell them apart.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rows(one), Self::Rows(other)) => one.is_like(other),
            (one, other) => one == other,
        }
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// A text for people, of limited length.
    pub(crate) fn shown(&self) -> String {
        let shown = match self {
            Self::Done => "done".to_owned(),
            Self::Silent => "no answer".to_owned(),
            Self::Count(count) => format!("{count} rows affected"),
            Self::Failed(failure) => shown_failure(failure),
            Self::Rows(rows) => shown_rows(rows),
        };
        shown.chars().take(SHOWN).collect()
    }
}

fn shown_failure(failure: &Failure) -> String {
    let code = failure.sqlstate.as_deref().unwrap_or("client");
    let mut shown = format!("{code} {}", failure.message);
    // Writing to a String does not fail.
    if let Some(detail) = &failure.detail {
        let _ = write!(shown, "; {detail}");
    }
    if let Some(hint) = &failure.hint {
        let _ = write!(shown, "; {hint}");
    }
    for object in failure.objects.iter().flatten() {
        let _ = write!(shown, "; {object}");
    }
    if let Some(position) = failure.position {
        let _ = write!(shown, "; at {position}");
    }
    shown
}

fn shown_rows(rows: &Rows) -> String {
    let mut shown = format!("{} rows", rows.rows.len());
    let _ = write!(shown, " ({})", rows.names.join(", "));
    for row in rows.rows.iter().take(5) {
        let values = row.iter().map(|value| match value {
            None => "null".to_owned(),
            Some((oid, bytes)) => format!("{oid}:{}", bytes.escape_ascii()),
        });
        let values: Vec<_> = values.collect();
        let _ = write!(shown, " | {}", values.join(", "));
    }
    shown
}

/// Types that a script creates have different numbers on each server. Values that contain such numbers may
/// differ in them.
fn is_like(one: &(u32, Vec<u8>), other: &(u32, Vec<u8>)) -> bool {
    let of_a_script = |oid: u32| oid >= FIRST_OF_SCRIPTS;
    let same_type = one.0 == other.0 || (of_a_script(one.0) && of_a_script(other.0));
    let holds_numbers = of_a_script(one.0) || HOLDS_OIDS.contains(&one.0);
    same_type && (one.1 == other.1 || (holds_numbers && differ_by_oids(&one.1, &other.1)))
}

/// Whether each difference lies within four bytes that are the number of a script's object on both sides.
fn differ_by_oids(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut place = 0;
    while let Some(difference) = (place..one.len()).find(|at| one[*at] != other[*at]) {
        let oid_at = |bytes: &[u8], at: usize| {
            let four = bytes.get(at..at + 4)?.try_into().ok()?;
            let oid = u32::from_be_bytes(four);
            (FIRST_OF_SCRIPTS..LAST_OF_SCRIPTS)
                .contains(&oid)
                .then_some(())
        };
        let is_oid = |at: &usize| oid_at(one, *at).and(oid_at(other, *at)).is_some();
        let Some(at) = (difference.saturating_sub(3).max(place)..=difference).find(is_oid) else {
            return false;
        };
        place = at + 4;
    }
    true
}

/// Removes numbers that differ between servers: long numbers and the number of a session's temporary schema.
fn unnumbered(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut digits = String::new();
    for c in text.chars().chain(std::iter::once('\0')) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let is_own = digits.len() > 4 || (!digits.is_empty() && shown.ends_with("pg_temp_"));
        shown.push_str(if is_own { "#" } else { &digits });
        digits.clear();
        shown.extend((c != '\0').then_some(c));
    }
    shown
}

/// oid, regclass and similar types, oidvector, record, and arrays of them.
const HOLDS_OIDS: [u32; 20] = [
    26, 24, 2202, 2203, 2204, 2205, 2206, 4096, 4089, 3734, 3769, 30, 1028, 2249, 2287, 2210, 2211,
    1008, 1034, 4191,
];
const FIRST_OF_SCRIPTS: u32 = 16_384;
const LAST_OF_SCRIPTS: u32 = 1 << 24;
const SHOWN: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn value(oid: u32, bytes: &[u8]) -> (u32, Vec<u8>) {
        (oid, bytes.to_vec())
    }

    #[test]
    fn a_type_of_a_script_is_like_another_and_its_value_is_not() {
        assert!(is_like(&value(20_000, b"red"), &value(30_000, b"red")));
        assert!(!is_like(&value(20_000, b"red"), &value(30_000, b"sad")));
        assert!(!is_like(&value(25, b"red"), &value(1043, b"red")));
    }

    #[test]
    fn only_what_holds_oids_may_differ_by_them() {
        let (one, other) = ([0, 0, 0, 1, 0, 0, 64, 7], [0, 0, 0, 1, 0, 0, 65, 8]);
        assert!(is_like(&value(2249, &one), &value(2249, &other)));
        assert!(!is_like(&value(20, &one), &value(20, &other)));
        let other = [0, 0, 0, 2, 0, 0, 65, 8];
        assert!(!is_like(&value(2249, &one), &value(2249, &other)));
    }

    #[test]
    fn numbers_of_the_server_are_taken_out_of_messages() {
        assert_eq!(
            unnumbered("type 123456 in pg_temp_3.t1"),
            "type # in pg_temp_#.t1"
        );
        assert_eq!(unnumbered("line 42"), "line 42");
    }
}
