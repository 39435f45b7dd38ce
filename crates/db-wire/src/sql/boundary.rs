//! The texts that begin and end transactions.

use crate::sql::words::{Words, is, is_any, pieces};

/// The options of a BEGIN that the wire may hold back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) read_only: bool,
    pub(crate) serializable: bool,
    /// Whether it names an isolation level, so that the session's default does not apply.
    pub(crate) isolation: bool,
    /// Whether it says READ ONLY or READ WRITE.
    pub(crate) access: bool,
}

impl Begin {
    /// Reads a BEGIN or START TRANSACTION that is nothing else besides.
    pub(crate) fn parse(sql: &[u8]) -> Option<Self> {
        let mut words = Words::of(sql);
        let mut begin = Self::default();
        match words.next()? {
            word if is(word, b"BEGIN") => {
                let _noise = words.eat(b"TRANSACTION") || words.eat(b"WORK");
            }
            word if is(word, b"START") && words.eat(b"TRANSACTION") => {}
            _ => return None,
        }
        while let Some(word) = words.next() {
            if is(word, b"ISOLATION") && words.eat(b"LEVEL") {
                begin.isolation = true;
                begin.serializable = words.eat(b"SERIALIZABLE");
                let named = begin.serializable
                    || (words.eat(b"REPEATABLE") && words.eat(b"READ"))
                    || (words.eat(b"READ")
                        && (words.eat(b"COMMITTED") || words.eat(b"UNCOMMITTED")));
                if !named {
                    return None;
                }
            } else if is(word, b"READ") {
                begin.access = true;
                begin.read_only = words.eat(b"ONLY");
                if !begin.read_only && !words.eat(b"WRITE") {
                    return None;
                }
            } else if is(word, b"NOT") {
                words.next().filter(|word| is(word, b"DEFERRABLE"))?;
            } else if !is(word, b"DEFERRABLE") {
                return None;
            }
        }
        Some(begin)
    }
}

/// A text that ends a transaction and does nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    Rollback,
}

impl End {
    pub(crate) fn parse(sql: &[u8]) -> Option<Self> {
        let mut words = Words::of(sql);
        let end = match words.next()? {
            word if is_any(word, &[b"COMMIT", b"END"]) => Self::Commit,
            word if is_any(word, &[b"ROLLBACK", b"ABORT"]) => Self::Rollback,
            _ => return None,
        };
        let _noise = words.eat(b"TRANSACTION") || words.eat(b"WORK");
        if words.eat(b"AND") && !(words.eat(b"NO") && words.eat(b"CHAIN")) {
            return None;
        }
        words.next().is_none().then_some(end)
    }
}

/// Whether it may commit: then it must not be cancelled.
pub(crate) fn may_commit(sql: &[u8]) -> bool {
    is_any(Words::first(sql), &[b"COMMIT", b"END", b"PREPARE"])
        || pieces(sql).any(|piece| is(Words::first(piece), b"COMMIT"))
}

/// Whether it may begin or end a transaction.
pub(crate) fn controls_transaction(sql: &[u8]) -> bool {
    pieces(sql).any(|piece| {
        is_any(
            Words::first(piece),
            &[
                b"BEGIN",
                b"START",
                b"COMMIT",
                b"END",
                b"ROLLBACK",
                b"ABORT",
                b"PREPARE",
            ],
        )
    })
}

/// Whether it goes back to a savepoint.
pub(crate) fn is_partial_rollback(sql: &[u8]) -> bool {
    let mut words = Words::of(sql);
    if !words.eat(b"ROLLBACK") {
        return false;
    }
    let _noise = words.eat(b"TRANSACTION") || words.eat(b"WORK");
    words.eat(b"TO")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_begin_and_nothing_but_a_begin_is_held_back() {
        let plain = Begin::default();
        assert_eq!(Begin::parse(b"BEGIN"), Some(plain));
        assert_eq!(Begin::parse(b" begin transaction ; "), Some(plain));
        let full = b"BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY NOT DEFERRABLE";
        let expected = Begin {
            read_only: true,
            serializable: true,
            isolation: true,
            access: true,
        };
        assert_eq!(Begin::parse(full), Some(expected));
        for (text, access) in [
            (
                &b"START TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE"[..],
                true,
            ),
            (b"begin isolation level repeatable read, deferrable", false),
        ] {
            let isolated = Begin {
                isolation: true,
                access,
                ..plain
            };
            assert_eq!(Begin::parse(text), Some(isolated));
        }
        for other in [
            &b"BEGIN; SELECT 1"[..],
            b"BEGIN ATOMIC",
            b"BEGIN READ",
            b"BEGIN ISOLATION LEVEL READ ONLY",
            b"BEGINNING",
            b"BEGIN /* x */ READ ONLY",
            b"START",
            b"SELECT 1",
            b"",
        ] {
            assert_eq!(Begin::parse(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn ends_of_transactions_are_told_apart() {
        for commit in [
            &b" commit ;"[..],
            b"END",
            b"commit work",
            b"COMMIT AND NO CHAIN",
        ] {
            assert_eq!(End::parse(commit), Some(End::Commit));
        }
        for rollback in [&b"ROLLBACK"[..], b"abort", b"rollback transaction"] {
            assert_eq!(End::parse(rollback), Some(End::Rollback));
        }
        for other in [
            &b"COMMIT AND CHAIN"[..],
            b"commit; select 1",
            b"COMMIT PREPARED 'x'",
            b"ROLLBACK TO SAVEPOINT a",
            b"",
        ] {
            assert_eq!(End::parse(other), None, "{}", other.escape_ascii());
        }
        assert!(is_partial_rollback(b"rollback to a") && !is_partial_rollback(b"ROLLBACK"));
        for commits in [
            &b"COMMIT"[..],
            b" commit;",
            b"END",
            b"Commit and chain",
            b"-- x\ncommit",
            b"insert into t values (1); commit",
        ] {
            assert!(
                may_commit(commits) && controls_transaction(commits),
                "{commits:?}"
            );
        }
        assert!(!may_commit(b"COMMITTED") && !may_commit(b"SELECT 1") && !may_commit(b""));
        assert!(controls_transaction(b"select 1; begin") && !controls_transaction(b"SAVEPOINT a"));
    }
}
