//! Settings that cannot be the session's own, because the session is shared with others.
//!
//! In a transaction each is said by SET LOCAL behind BEGIN. A SET takes no snapshot, so that a SET TRANSACTION of the
//! client's may still follow. Outside a transaction only what changes a result is said in front of the statement:
//! its timeout is held by the client, which cancels, and it cannot be idle in a transaction.

use crate::sql::transactions::{Begin, Isolation};

/// Settings that the wire puts into each transaction, and before each statement outside of one that needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSettings {
    /// What follows a BEGIN, one SET LOCAL each.
    in_transaction: Vec<Vec<u8>>,
    /// What stands before a text that may begin a transaction by itself, one SET each: all of it.
    before_begin: Vec<Vec<u8>>,
    /// What stands before other statements of a simple query, one SET each.
    before_simple: Vec<Vec<u8>>,
    /// What stands before a statement of the extended protocol, where SET LOCAL would warn that there is no BEGIN.
    before_extended: Vec<Vec<u8>>,
    /// The names of the settings without which a statement that must stand alone cannot run.
    names: Vec<String>,
    isolation: Option<(Isolation, &'static str)>,
    read_only: bool,
}

impl LocalSettings {
    /// Settings that the server connection does not have by itself; `None` where there is nothing to set.
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
        // The level before all else: it cannot be changed any more once a SELECT has taken its snapshot. This
        // SET lasts as long as the transaction, and unlike SET LOCAL and SET TRANSACTION it does not warn
        // where there is no BEGIN.
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
        // What must stand alone runs rather without a bound on its locks than not at all; its statement_timeout holds.
        let names = in_front.iter().map(|(name, _)| name.clone());
        let names = names.filter(|name| !name.eq_ignore_ascii_case("lock_timeout"));
        // What stands alone runs at whatever level, but must not write where the pool only reads.
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

    /// The statements that follow a BEGIN that says what [`Self::begin`] has to say.
    pub(crate) fn in_transaction(&self) -> &[Vec<u8>] {
        &self.in_transaction
    }

    /// The settings as SQL has them behind `SET`.
    pub fn assignments(&self) -> impl Iterator<Item = String> {
        let texts = self.in_transaction.iter();
        let texts = texts.filter_map(|text| text.strip_prefix(b"SET LOCAL "));
        texts.map(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// The statements in front of a statement that may begin a transaction. None of them takes a snapshot.
    pub(crate) fn before_begin(&self) -> &[Vec<u8>] {
        &self.before_begin
    }

    /// The statements in front of another simple query outside a transaction, which make one text with it.
    pub(crate) fn before_simple(&self) -> &[Vec<u8>] {
        &self.before_simple
    }

    /// The statements in front of one of the extended protocol outside a transaction.
    pub(crate) fn before_extended(&self) -> &[Vec<u8>] {
        &self.before_extended
    }

    /// The settings without which a statement outside a transaction cannot run.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a statement outside a transaction comes to another end without them.
    pub(crate) fn are_needed(&self) -> bool {
        !self.names.is_empty()
    }

    /// What a BEGIN has to say because the defaults are not the session's.
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

/// Whether a statement outside a transaction may come to another end with it: not through a timeout that the client
/// holds, nor through what only transactions have.
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

/// One SET LOCAL. A value is one string, but for lists of names, which are quoted one by one.
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

/// Settings whose values the server takes apart into names (GUC_LIST_QUOTE).
const LISTS_OF_NAMES: [&str; 2] = ["search_path", "temp_tablespaces"];

/// The names of a list, as the server reads it (`SplitIdentifierString` in utils/adt/varlena.c); `None` where it would
/// refuse the list.
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

/// A string literal that means the same whatever `standard_conforming_strings` says.
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

    /// A default is asked for when a transaction begins, and not again. What the client holds stands before nothing.
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
        // A BEGIN in the text takes what the client cannot hold any more.
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
