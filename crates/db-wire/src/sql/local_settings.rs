//! Settings that the session cannot keep, because other clients share it.
//!
//! In a transaction each is sent as SET LOCAL after BEGIN. A SET takes no snapshot, so the client's SET TRANSACTION may
//! still follow. Outside a transaction the wire puts only settings that change a result before the statement. The pool
//! itself watches the timeout of such a statement and cancels it, and a timeout for idle transactions cannot concern
//! it.

use crate::sql::transactions::{Begin, Isolation};

/// Settings that the wire puts into each transaction, and before each statement outside a transaction that needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSettings {
    /// The statements that follow a BEGIN, one SET LOCAL each.
    in_transaction: Vec<Vec<u8>>,
    /// The statements before a text that may itself begin a transaction, one SET for each of all settings.
    before_begin: Vec<Vec<u8>>,
    /// The statements before any other simple query, one SET each.
    before_simple: Vec<Vec<u8>>,
    /// The statements before a statement of the extended protocol, where the server would warn of a SET LOCAL without
    /// a BEGIN.
    before_extended: Vec<Vec<u8>>,
    /// The names of the settings without which a statement that must stand alone cannot run.
    names: Vec<String>,
    isolation: Option<(Isolation, &'static str)>,
    read_only: bool,
}

impl LocalSettings {
    /// Takes the settings that the server connection does not have by itself. Returns `None` if there is nothing to
    /// set.
    #[must_use]
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
                .find(|(_, known)| known.eq_ignore_ascii_case(level))
        });
        let read_only = value("default_transaction_read_only")
            .is_some_and(|value| TRUE.iter().any(|yes| yes.eq_ignore_ascii_case(value)));
        // The isolation level comes first: it cannot change once a SELECT has taken its snapshot. This SET lasts as
        // long as the transaction. Unlike SET LOCAL and SET TRANSACTION, it causes no warning if there is no BEGIN.
        let mut of_transaction = Vec::new();
        if let Some((_, level)) = isolation {
            of_transaction.push(format!("SET transaction_isolation = '{level}'").into_bytes());
        }
        if read_only {
            of_transaction.push(b"SET transaction_read_only = on".to_vec());
        }
        let in_front: Vec<_> = settings
            .iter()
            .filter(|(name, _)| changes_a_result(name))
            .collect();
        let set = |(name, value): &(String, String)| set_local(name, value).into_bytes();
        let calls: Vec<_> = in_front
            .iter()
            .map(|(name, value)| call(name, value))
            .collect();
        let called =
            (!calls.is_empty()).then(|| format!("SELECT {}", calls.join(", ")).into_bytes());
        // A statement that must stand alone runs without a bound on its lock waits, because that is better than a
        // refusal. Its statement_timeout still holds.
        let names = in_front.iter().map(|(name, _)| name.clone());
        let names = names.filter(|name| !name.eq_ignore_ascii_case("lock_timeout"));
        // A statement that stands alone may run at any isolation level, but must not write in a pool that only reads.
        let read_only_name = read_only.then(|| "default_transaction_read_only".to_owned());
        Some(Self {
            in_transaction: settings.iter().map(set).collect(),
            before_begin: of_transaction
                .iter()
                .cloned()
                .chain(settings.iter().map(set))
                .collect(),
            before_simple: of_transaction
                .iter()
                .cloned()
                .chain(in_front.iter().map(|setting| set(setting)))
                .collect(),
            names: names.chain(read_only_name).collect(),
            before_extended: of_transaction.into_iter().chain(called).collect(),
            isolation,
            read_only,
        })
    }

    /// The statements that follow a BEGIN to which [`Self::begin`] was added.
    pub(crate) fn in_transaction(&self) -> &[Vec<u8>] {
        &self.in_transaction
    }

    /// The settings as SQL writes them after `SET`.
    pub fn assignments(&self) -> impl Iterator<Item = String> {
        let texts = self.in_transaction.iter();
        let texts = texts.filter_map(|text| text.strip_prefix(b"SET LOCAL "));
        texts.map(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// The statements to put before a statement that may begin a transaction. None of them takes a snapshot.
    pub(crate) fn before_begin(&self) -> &[Vec<u8>] {
        &self.before_begin
    }

    /// The statements to put before any other simple query outside a transaction. They form one text with it.
    pub(crate) fn before_simple(&self) -> &[Vec<u8>] {
        &self.before_simple
    }

    /// The statements to put before a statement of the extended protocol outside a transaction.
    pub(crate) fn before_extended(&self) -> &[Vec<u8>] {
        &self.before_extended
    }

    /// The settings without which a statement outside a transaction cannot run.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a statement outside a transaction has another result without them.
    pub(crate) fn are_needed(&self) -> bool {
        !self.names.is_empty()
    }

    /// The options to add to a BEGIN, because the session does not have the defaults.
    pub(crate) fn begin(&self, begin: Begin) -> String {
        let mut options = String::new();
        if let Some((_, level)) = self.isolation.filter(|_| begin.isolation.is_none()) {
            options.push_str(" ISOLATION LEVEL ");
            options.push_str(level);
        }
        if self.read_only && !begin.access {
            options.push_str(" READ ONLY");
        }
        options
    }
}

const LEVELS: [(Isolation, &str); 4] = [
    (Isolation::ReadCommitted, "READ COMMITTED"),
    (Isolation::RepeatableRead, "REPEATABLE READ"),
    (Isolation::Serializable, "SERIALIZABLE"),
    (Isolation::ReadCommitted, "READ UNCOMMITTED"),
];

const TRUE: [&str; 4] = ["on", "true", "yes", "1"];

/// Whether this setting may change the result of a statement outside a transaction. Timeouts that the pool itself
/// watches do not, nor do settings that only matter in transactions.
fn changes_a_result(name: &str) -> bool {
    const OTHERS: [&str; 7] = [
        "statement_timeout",
        "transaction_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "default_transaction_deferrable",
    ];
    !OTHERS.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// One SET LOCAL. A value is one string, except for lists of names, which are quoted one by one.
fn set_local(name: &str, value: &str) -> String {
    let is_list = LISTS_OF_NAMES
        .iter()
        .any(|list| list.eq_ignore_ascii_case(name));
    let value = match is_list.then(|| names_of(value)).flatten() {
        Some(names) if names.is_empty() => "''".to_owned(),
        Some(names) => names
            .iter()
            .map(|name| literal(name))
            .collect::<Vec<_>>()
            .join(", "),
        None => literal(value),
    };
    let parts: Vec<_> = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    format!("SET LOCAL {} = {value}", parts.join("."))
}

/// Settings whose values the server splits into names (GUC_LIST_QUOTE).
const LISTS_OF_NAMES: [&str; 2] = ["search_path", "temp_tablespaces"];

/// The names of a list, as the server reads it (`SplitIdentifierString` in utils/adt/varlena.c). `None` if the server
/// would refuse the list.
fn names_of(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = list.trim_start();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let name;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut end = 0;
            loop {
                end += quoted[end..].find('"')?;
                if !quoted[end + 1..].starts_with('"') {
                    break;
                }
                end += 2;
            }
            name = quoted[..end].replace("\"\"", "\"");
            rest = &quoted[end + 1..];
        } else {
            let end = rest.find(|char: char| char == ',' || char.is_ascii_whitespace());
            let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
            if word.is_empty() {
                return None;
            }
            name = word.to_ascii_lowercase();
            rest = behind;
        }
        names.push(name);
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

fn call(name: &str, value: &str) -> String {
    let (name, value) = (literal(name), literal(value));
    format!("pg_catalog.set_config({name}, {value}, true)")
}

/// A string literal that means the same with any value of `standard_conforming_strings`.
#[must_use]
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
    use crate::sql::tokens::Sql;

    fn settings(pairs: &[(&str, &str)]) -> Option<LocalSettings> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        LocalSettings::new(&pairs.iter().map(owned).collect::<Vec<_>>())
    }

    fn shown(statements: &[Vec<u8>]) -> Vec<&str> {
        statements
            .iter()
            .map(|sql| str::from_utf8(sql).unwrap())
            .collect()
    }

    /// case R50
    #[test]
    fn settings_become_statements_of_literals() {
        let both = settings(&[
            ("lock_timeout", "2s"),
            ("search_path", "mid, \"o'B\"\"x\\\""),
        ])
        .unwrap();
        let set = [
            "SET LOCAL \"lock_timeout\" = '2s'",
            "SET LOCAL \"search_path\" = 'mid',  E'o''B\"x\\\\'",
        ];
        assert_eq!(shown(both.in_transaction()), set);
        assert_eq!(shown(both.before_simple()), set);
        assert_eq!(
            shown(both.before_extended()),
            ["SELECT pg_catalog.set_config('lock_timeout', '2s', true), \
              pg_catalog.set_config('search_path',  E'mid, \"o''B\"\"x\\\\\"', true)"]
        );
        assert_eq!(both.names(), ["search_path"]);
        assert_eq!(both.begin(Begin::default()), "");
        assert_eq!(settings(&[]), None);
        let own = settings(&[("app.tenant", "a")]).unwrap();
        assert_eq!(
            shown(own.in_transaction()),
            ["SET LOCAL \"app\".\"tenant\" = 'a'"]
        );
    }

    #[test]
    fn a_search_path_is_taken_apart_as_the_server_does() {
        for (list, names) in [
            ("", Some(vec![])),
            ("a", Some(vec!["a"])),
            (
                " Mid_Term ,\"Q\"\"x\", \"$user\" ,pg_temp ",
                Some(vec!["mid_term", "Q\"x", "$user", "pg_temp"]),
            ),
            ("a,", None),
            ("a b", None),
            ("\"a", None),
        ] {
            let names = names.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(names_of(list), names, "{list}");
        }
    }

    /// The wire sets a default when a transaction begins, and not again. It puts no timeout that the pool itself
    /// watches before a statement.
    #[test]
    fn defaults_of_transactions_are_said_by_begin() {
        let defaults = settings(&[
            ("default_transaction_isolation", "repeatable read"),
            ("default_transaction_read_only", "on"),
            ("statement_timeout", "5s"),
        ])
        .unwrap();
        let begin = |sql: &str| defaults.begin(Begin::parse(Sql::of(sql.as_bytes())).unwrap());
        assert_eq!(begin("BEGIN"), " ISOLATION LEVEL REPEATABLE READ READ ONLY");
        assert_eq!(
            begin("BEGIN READ WRITE"),
            " ISOLATION LEVEL REPEATABLE READ"
        );
        assert_eq!(begin("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"), "");
        assert_eq!(
            shown(defaults.before_extended()),
            [
                "SET transaction_isolation = 'REPEATABLE READ'",
                "SET transaction_read_only = on"
            ]
        );
        assert_eq!(defaults.before_extended(), defaults.before_simple());
        assert_eq!(defaults.in_transaction().len(), 3);
        // If the text holds a BEGIN, the pool can no longer watch the timeouts, so they are set too.
        assert_eq!(defaults.before_begin().len(), 5);
        assert_eq!(defaults.names(), ["default_transaction_read_only"]);
        let odd = settings(&[("default_transaction_isolation", "x; drop")]).unwrap();
        assert_eq!(odd.begin(Begin::default()), "");
        assert!(
            settings(&[("statement_timeout", "5s")])
                .unwrap()
                .before_simple()
                .is_empty()
        );
    }
}
