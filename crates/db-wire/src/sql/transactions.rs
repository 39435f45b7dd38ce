//! The texts that begin and end transactions.

use crate::sql::statements::{first, only, statements};
use crate::sql::tokens::{Sql, Token, Tokens};

/// The options of a BEGIN that the wire may hold back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) read_only: bool,
    /// The isolation level that it names. Without one, the session's default applies.
    pub(crate) isolation: Option<Isolation>,
    /// Whether it says READ ONLY or READ WRITE.
    pub(crate) access: bool,
}

/// An isolation level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// READ UNCOMMITTED is the same in PostgreSQL.
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    fn eat(words: &mut Tokens<'_>) -> Option<Self> {
        if words.eat(b"SERIALIZABLE") {
            return Some(Self::Serializable);
        }
        if words.eat(b"REPEATABLE") {
            return words.eat(b"READ").then_some(Self::RepeatableRead);
        }
        let read = words.eat(b"READ") && (words.eat(b"COMMITTED") || words.eat(b"UNCOMMITTED"));
        read.then_some(Self::ReadCommitted)
    }
}

impl Begin {
    /// Reads a BEGIN or START TRANSACTION that contains nothing else.
    pub(crate) fn parse(statement: Sql<'_>) -> Option<Self> {
        let mut words = Tokens::of(statement);
        let mut begin = Self::default();
        match words.next()? {
            word if word.is(b"BEGIN") => eat_noise(&mut words),
            word if word.is(b"START") && words.eat(b"TRANSACTION") => {}
            _ => return None,
        }
        while let Some(word) = words.next() {
            if word.is(b"ISOLATION") && words.eat(b"LEVEL") {
                begin.isolation = Some(Isolation::eat(&mut words)?);
            } else if word.is(b"READ") {
                begin.access = true;
                begin.read_only = words.eat(b"ONLY");
                if !begin.read_only && !words.eat(b"WRITE") {
                    return None;
                }
            } else if word.is(b"NOT") {
                words.next().filter(|word| word.is(b"DEFERRABLE"))?;
            } else if !word.is(b"DEFERRABLE") {
                return None;
            }
            let _separator = words.eat_symbol(b',');
        }
        Some(begin)
    }
}

/// A BEGIN that the wire may hold back, with the settings that follow it in the same text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) sql: Box<[u8]>,
    pub(crate) begin: Begin,
    /// One `SET LOCAL` each: the extended protocol takes one command at a time.
    pub(crate) settings: Vec<Box<[u8]>>,
}

impl Opening {
    /// Reads `BEGIN ..` or `BEGIN ..; SET LOCAL ..; SET LOCAL ..` that contains nothing else.
    pub(crate) fn parse(sql: Sql<'_>) -> Option<Self> {
        // The wire puts more text after these statements, and a comment at their end would swallow
        // it.
        if sql
            .text
            .windows(2)
            .any(|pair| pair == b"--" || pair == b"/*")
        {
            return None;
        }
        let mut all = statements(sql);
        let opening = all.next()?;
        let begin = Begin::parse(opening)?;
        let setting = |one: Sql<'_>| is_timeout(one).then(|| Box::from(one.text.trim_ascii()));
        Some(Self {
            sql: opening.text.trim_ascii().into(),
            begin,
            settings: all.map(setting).collect::<Option<_>>()?,
        })
    }
}

/// `SET LOCAL` of one of the two timeouts to a number of milliseconds.
fn is_timeout(statement: Sql<'_>) -> bool {
    let mut words = Tokens::of(statement);
    let names: &[&[u8]] = &[b"statement_timeout", b"lock_timeout"];
    words.eat(b"SET")
        && words.eat(b"LOCAL")
        && words.next().is_some_and(|name| name.is_any(names))
        && words.eat_symbol(b'=')
        && words.next() == Some(Token::Value)
        && words.next().is_none()
}

/// A text that ends a transaction and does nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    Rollback,
}

impl End {
    pub(crate) fn parse(sql: Sql<'_>) -> Option<Self> {
        let mut words = Tokens::of(only(sql)?);
        let end = match words.next()? {
            word if word.is_any(&[b"COMMIT", b"END"]) => Self::Commit,
            word if word.is_any(&[b"ROLLBACK", b"ABORT"]) => Self::Rollback,
            _ => return None,
        };
        eat_noise(&mut words);
        if words.eat(b"AND") && !(words.eat(b"NO") && words.eat(b"CHAIN")) {
            return None;
        }
        words.next().is_none().then_some(end)
    }

    /// Reads the end of a failed transaction. PREPARE TRANSACTION rolls it back too.
    pub(crate) fn of_failed(sql: Sql<'_>) -> Option<Self> {
        let prepares = || {
            let mut words = Tokens::of(only(sql)?);
            (words.eat(b"PREPARE") && words.eat(b"TRANSACTION")).then_some(Self::Commit)
        };
        Self::parse(sql).or_else(prepares)
    }
}

/// Whether it may commit, so that it must not be cancelled.
///
/// A procedure or a DO that commits in the middle of its work may be cancelled, because it may run
/// for hours.
pub(crate) fn may_commit(sql: Sql<'_>) -> bool {
    statements(sql).any(|one| {
        let mut words = Tokens::of(one);
        match words.next() {
            Some(word) if word.is_any(&[b"COMMIT", b"END"]) => true,
            Some(word) if word.is(b"PREPARE") => words.eat(b"TRANSACTION"),
            _ => false,
        }
    })
}

/// Whether it may begin or end a transaction.
pub(crate) fn controls_transaction(sql: Sql<'_>) -> bool {
    const CONTROLS: &[&[u8]] = &[
        b"BEGIN",
        b"START",
        b"COMMIT",
        b"END",
        b"ROLLBACK",
        b"ABORT",
        b"PREPARE",
        b"CALL",
        b"DO",
    ];
    statements(sql).any(|one| first(one).is_any(CONTROLS))
}

/// Whether it goes back to a savepoint.
pub(crate) fn is_partial_rollback(sql: Sql<'_>) -> bool {
    let Some(statement) = only(sql) else {
        return false;
    };
    let mut words = Tokens::of(statement);
    if !words.eat(b"ROLLBACK") {
        return false;
    }
    eat_noise(&mut words);
    words.eat(b"TO")
}

/// Skips words that may follow BEGIN, COMMIT and ROLLBACK and mean nothing.
fn eat_noise(words: &mut Tokens<'_>) {
    let _noise = words.eat(b"TRANSACTION") || words.eat(b"WORK");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sql: &str) -> Option<Begin> {
        Begin::parse(Sql::of(sql.as_bytes()))
    }

    #[test]
    fn only_a_begin_and_nothing_but_a_begin_is_held_back() {
        let plain = Begin::default();
        assert_eq!(begin("BEGIN"), Some(plain));
        assert_eq!(begin(" begin transaction -- x"), Some(plain));
        let full = "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY NOT DEFERRABLE";
        let expected = Begin {
            read_only: true,
            isolation: Some(Isolation::Serializable),
            access: true,
        };
        assert_eq!(begin(full), Some(expected));
        assert_eq!(
            begin("BEGIN /* x */ READ ONLY").map(|begin| begin.read_only),
            Some(true)
        );
        for (text, isolation, access) in [
            (
                "START TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE",
                Isolation::ReadCommitted,
                true,
            ),
            (
                "begin isolation level repeatable read, deferrable",
                Isolation::RepeatableRead,
                false,
            ),
        ] {
            let isolated = Begin {
                isolation: Some(isolation),
                access,
                ..plain
            };
            assert_eq!(begin(text), Some(isolated));
        }
        for other in [
            "BEGIN; SELECT 1",
            "BEGIN ATOMIC",
            "BEGIN READ",
            "BEGIN ISOLATION LEVEL READ ONLY",
            "BEGINNING",
            "START",
            "SELECT 1",
            "",
        ] {
            assert_eq!(begin(other), None, "{other}");
        }
    }

    /// case R27
    #[test]
    fn a_begin_takes_its_own_timeouts_along_and_nothing_else() {
        let opening = |sql: &str| Opening::parse(Sql::of(sql.as_bytes()));
        let found = opening(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = 250; set local lock_timeout = 5;",
        )
        .unwrap();
        assert!(found.begin.read_only);
        assert_eq!(&*found.sql, b"BEGIN READ ONLY");
        let settings: [&[u8]; 2] = [
            b"SET LOCAL statement_timeout = 250",
            b"set local lock_timeout = 5",
        ];
        assert!(found.settings.iter().map(|sql| &**sql).eq(settings));
        let plain = opening(" begin ;").unwrap();
        assert_eq!((&*plain.sql, plain.settings.len()), (&b"begin"[..], 0));
        for other in [
            "BEGIN; SELECT 1",
            "BEGIN; SET LOCAL work_mem = 5",
            "BEGIN; SET statement_timeout = 5",
            "BEGIN; SET LOCAL statement_timeout = '5s'",
            "BEGIN; SET LOCAL lock_timeout = 5, 6",
            "SET LOCAL lock_timeout = 5",
            "BEGIN -- x",
            "",
        ] {
            assert_eq!(opening(other), None, "{other}");
        }
    }

    #[test]
    fn ends_of_transactions_are_told_apart() {
        let end = |sql: &str| End::parse(Sql::of(sql.as_bytes()));
        for commit in [
            " commit ;",
            "END",
            "commit work",
            "COMMIT AND NO CHAIN",
            "/* a */ commit -- b",
        ] {
            assert_eq!(end(commit), Some(End::Commit));
        }
        for rollback in ["ROLLBACK", "abort", "rollback transaction"] {
            assert_eq!(end(rollback), Some(End::Rollback));
        }
        for other in [
            "COMMIT AND CHAIN",
            "commit; select 1",
            "COMMIT PREPARED 'x'",
            "ROLLBACK TO SAVEPOINT a",
            "",
        ] {
            assert_eq!(end(other), None, "{other}");
        }
        let partial = |sql: &str| is_partial_rollback(Sql::of(sql.as_bytes()));
        assert!(partial("rollback to a") && !partial("ROLLBACK"));
    }

    /// A literal, a comment or a name that looks like a COMMIT is not one.
    #[test]
    fn what_commits_is_known_by_its_tokens() {
        let commits = |sql: &str| may_commit(Sql::of(sql.as_bytes()));
        let controls = |sql: &str| controls_transaction(Sql::of(sql.as_bytes()));
        for sql in [
            "COMMIT",
            " commit;",
            "END",
            "Commit and chain",
            "-- x\ncommit",
            "insert into t values (1); commit",
            "prepare transaction 'x'",
            "commit prepared 'x'",
        ] {
            assert!(commits(sql) && controls(sql), "{sql}");
        }
        for sql in [
            "COMMITTED",
            "SELECT 1",
            "",
            "insert into notes values ('x; commit')",
            "select 1 -- ; commit",
            "select $a$; commit; $a$",
            "update t set \"commit\" = 1",
            "prepare p as select 1",
            "create function f() returns int begin atomic select 1; end",
        ] {
            assert!(!commits(sql), "{sql}");
        }
        assert!(controls("select 1; begin") && controls("call p()") && !controls("SAVEPOINT a"));
    }
}
