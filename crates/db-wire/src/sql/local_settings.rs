//! Settings that cannot be the session's own, because the session is shared with others.

use crate::sql::boundary::Begin;

/// Settings that the wire puts into each transaction and before each statement outside of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSettings {
    /// The one that follows a BEGIN.
    sql: Vec<u8>,
    /// The statements that a transaction without a BEGIN starts with.
    autocommit: Vec<Vec<u8>>,
    /// The default isolation level, which a transaction that has begun does not ask for any more.
    isolation: Option<&'static str>,
    read_only: bool,
}

impl LocalSettings {
    /// `None` where there is nothing to set.
    pub fn new(settings: &[(String, String)]) -> Option<Self> {
        if settings.is_empty() {
            return None;
        }
        let value = |wanted: &str| {
            let setting = settings
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            setting.map(|(_, value)| value.as_str())
        };
        let isolation = value("default_transaction_isolation").and_then(|level| {
            LEVELS
                .into_iter()
                .find(|known| known.eq_ignore_ascii_case(level))
        });
        let read_only = value("default_transaction_read_only")
            .is_some_and(|value| TRUE.iter().any(|yes| yes.eq_ignore_ascii_case(value)));
        let mut calls: Vec<_> = settings
            .iter()
            .map(|(name, value)| call(name, value))
            .collect();
        let sql = format!("SELECT {}", calls.join(", ")).into_bytes();
        if read_only {
            calls.push(call("transaction_read_only", "on"));
        }
        // The level before all else: it cannot be changed any more once a SELECT has taken its snapshot. This
        // SET lasts as long as the transaction, and unlike SET LOCAL and SET TRANSACTION it does not warn
        // where there is no BEGIN.
        let level = isolation.map(|level| format!("SET transaction_isolation = '{level}'"));
        let settings = format!("SELECT {}", calls.join(", "));
        Some(Self {
            sql,
            autocommit: level
                .into_iter()
                .chain([settings])
                .map(String::into_bytes)
                .collect(),
            isolation,
            read_only,
        })
    }

    /// The statements that set them: behind a BEGIN that has what [`Self::begin`] says, or with nothing
    /// before them.
    pub(crate) fn statements(&self, in_transaction: bool) -> &[Vec<u8>] {
        if in_transaction {
            std::slice::from_ref(&self.sql)
        } else {
            &self.autocommit
        }
    }

    /// What a BEGIN has to say because the defaults are not the session's.
    pub(crate) fn begin(&self, begin: Begin) -> String {
        let mut options = String::new();
        if let Some(level) = self.isolation.filter(|_| !begin.isolation) {
            options.push_str(" ISOLATION LEVEL ");
            options.push_str(level);
        }
        if self.read_only && !begin.access {
            options.push_str(" READ ONLY");
        }
        options
    }
}

const LEVELS: [&str; 4] = [
    "READ COMMITTED",
    "REPEATABLE READ",
    "SERIALIZABLE",
    "READ UNCOMMITTED",
];

const TRUE: [&str; 4] = ["on", "true", "yes", "1"];

fn call(name: &str, value: &str) -> String {
    let (name, value) = (literal(name), literal(value));
    format!("pg_catalog.set_config({name}, {value}, true)")
}

/// A string literal that means the same whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let escape = if text.contains('\\') { " E" } else { "" };
    format!(
        "{escape}'{}'",
        text.replace('\\', "\\\\").replace('\'', "''")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Option<LocalSettings> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        LocalSettings::new(&pairs.iter().map(owned).collect::<Vec<_>>())
    }

    /// case R50
    #[test]
    fn settings_become_one_statement_of_literals() {
        let both = settings(&[("lock_timeout", "2s"), ("search_path", "o'b\\")]).unwrap();
        let sql = b"SELECT pg_catalog.set_config('lock_timeout', '2s', true), \
              pg_catalog.set_config('search_path',  E'o''b\\\\', true)";
        assert_eq!(both.statements(true), [sql]);
        assert_eq!(both.statements(false), [sql]);
        assert_eq!(both.begin(Begin::default()), "");
        assert_eq!(settings(&[]), None);
    }

    /// Issue 3, item 7: a default is asked for when a transaction begins, and not again.
    #[test]
    fn defaults_of_transactions_are_said_by_begin() {
        let defaults = settings(&[
            ("default_transaction_isolation", "repeatable read"),
            ("default_transaction_read_only", "on"),
        ])
        .unwrap();
        let begin = |sql: &[u8]| defaults.begin(Begin::parse(sql).unwrap());
        assert_eq!(
            begin(b"BEGIN"),
            " ISOLATION LEVEL REPEATABLE READ READ ONLY"
        );
        assert_eq!(
            begin(b"BEGIN READ WRITE"),
            " ISOLATION LEVEL REPEATABLE READ"
        );
        assert_eq!(begin(b"BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"), "");
        let [level, rest] = defaults.statements(false) else {
            panic!("{defaults:?}");
        };
        assert_eq!(level, b"SET transaction_isolation = 'REPEATABLE READ'");
        assert!(rest.ends_with(b"set_config('transaction_read_only', 'on', true)"));
        assert_eq!(defaults.statements(true).len(), 1);
        let odd = settings(&[("default_transaction_isolation", "x; drop")]).unwrap();
        assert_eq!(odd.begin(Begin::default()), "");
    }
}
