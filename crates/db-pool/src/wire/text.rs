//! What the wire reads off a statement's text: its first words, and names that change a session.
//!
//! None of this is a parser of SQL. Each question is asked so that a wrong answer costs a round trip and
//! never a wrong result.

/// The options of a BEGIN that the wire may hold back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) read_only: bool,
    pub(crate) serializable: bool,
    /// Whether it names an isolation level, so that the session's default does not apply.
    pub(crate) isolation: bool,
}

impl Begin {
    /// Reads a BEGIN or START TRANSACTION that is nothing else besides.
    pub(crate) fn parse(sql: &[u8]) -> Option<Self> {
        let mut words = Words(trim(sql));
        let mut begin = Self::default();
        match words.next()? {
            word if is(word, b"BEGIN") => {
                if words.peek_is(b"TRANSACTION") || words.peek_is(b"WORK") {
                    words.next();
                }
            }
            word if is(word, b"START") => {
                words.next().filter(|word| is(word, b"TRANSACTION"))?;
            }
            _ => return None,
        }
        while let Some(word) = words.next() {
            if is(word, b"ISOLATION") {
                words.next().filter(|word| is(word, b"LEVEL"))?;
                begin.isolation = true;
                match words.next()? {
                    word if is(word, b"SERIALIZABLE") => begin.serializable = true,
                    word if is(word, b"REPEATABLE") => {
                        words.next().filter(|word| is(word, b"READ"))?;
                    }
                    word if is(word, b"READ") => {
                        words
                            .next()
                            .filter(|word| is(word, b"COMMITTED") || is(word, b"UNCOMMITTED"))?;
                    }
                    _ => return None,
                }
            } else if is(word, b"READ") {
                match words.next()? {
                    word if is(word, b"ONLY") => begin.read_only = true,
                    word if is(word, b"WRITE") => begin.read_only = false,
                    _ => return None,
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

/// Whether the text is COMMIT and nothing else.
pub(crate) fn is_commit(sql: &[u8]) -> bool {
    is(trim(sql), b"COMMIT") || is(trim(sql), b"END")
}

/// Whether the text is ROLLBACK and nothing else.
pub(crate) fn is_rollback(sql: &[u8]) -> bool {
    is(trim(sql), b"ROLLBACK") || is(trim(sql), b"ABORT")
}

/// Whether it may commit: then it must not be cancelled.
pub(crate) fn may_commit(sql: &[u8]) -> bool {
    let first = Words(trim(sql)).next().unwrap_or_default();
    [&b"COMMIT"[..], b"END", b"PREPARE"]
        .iter()
        .any(|word| is(first, word))
}

/// Whether a read-only transaction that ran it can be committed without waiting for the answer.
pub(crate) fn is_plain_select(sql: &[u8]) -> bool {
    is(Words(trim(sql)).next().unwrap_or_default(), b"SELECT")
        && !contains(sql, b"notify")
        && !contains(sql, b"set_config")
        && !contains(sql, b"lo_")
}

/// Whether it may change how later statements are resolved: then every description is forgotten.
pub(crate) fn touches_resolution(sql: &[u8]) -> bool {
    let first = Words(trim(sql)).next().unwrap_or_default();
    [&b"DISCARD"[..], b"RESET", b"DEALLOCATE"]
        .iter()
        .any(|word| is(first, word))
        || CHANGES_RESOLUTION.iter().any(|name| contains(sql, name))
}

const CHANGES_RESOLUTION: [&[u8]; 6] = [
    b"search_path",
    b"set_config",
    b"set role",
    b"set local role",
    b"set session role",
    b"session authorization",
];

/// Whether the command that a tag names may have changed a table.
pub(crate) fn is_ddl_tag(tag: &[u8]) -> bool {
    [&b"ALTER"[..], b"CREATE", b"DROP"]
        .iter()
        .any(|word| is(Words(tag).next().unwrap_or_default(), word))
}

/// Whether PostgreSQL refuses it beside other statements (25001): it is sent alone.
pub(crate) fn wants_to_be_alone(sql: &[u8]) -> bool {
    let mut words = Words(trim(sql));
    let (first, second) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let first_is = |names: &[&[u8]]| names.iter().any(|name| is(first, name));
    let second_is = |names: &[&[u8]]| names.iter().any(|name| is(second, name));
    first_is(&[b"VACUUM", b"CLUSTER", b"REINDEX"])
        || (first_is(&[b"CREATE", b"DROP"])
            && second_is(&[b"DATABASE", b"TABLESPACE", b"SUBSCRIPTION"]))
        || (first_is(&[b"ALTER"]) && second_is(&[b"SYSTEM", b"DATABASE", b"SUBSCRIPTION", b"TYPE"]))
        || contains(sql, b"concurrently")
}

/// What of it needs a session of its own, which a transaction pooler does not give.
pub(crate) fn needs_own_session(sql: &[u8]) -> Option<&'static str> {
    let first = Words(trim(sql)).next().unwrap_or_default();
    if is(first, b"LISTEN") {
        return Some("LISTEN");
    }
    let session_lock = [&b"pg_advisory_lock"[..], b"pg_try_advisory_lock"]
        .iter()
        .any(|name| contains(sql, name));
    session_lock.then_some("a session-level advisory lock")
}

/// Without blanks, comments at the start, and the semicolon at the end.
fn trim(sql: &[u8]) -> &[u8] {
    let mut sql = sql.trim_ascii();
    loop {
        if let Some(rest) = sql.strip_prefix(b"--") {
            let end = rest.iter().position(|byte| *byte == b'\n');
            sql = end
                .map_or(&rest[rest.len()..], |end| &rest[end..])
                .trim_ascii_start();
        } else if let Some(rest) = sql.strip_prefix(b"/*") {
            match rest.windows(2).position(|pair| pair == b"*/") {
                Some(end) => sql = rest[end + 2..].trim_ascii_start(),
                None => return sql,
            }
        } else {
            break;
        }
    }
    while let Some(rest) = sql.strip_suffix(b";") {
        sql = rest.trim_ascii_end();
    }
    sql
}

fn is(word: &[u8], name: &[u8]) -> bool {
    word.eq_ignore_ascii_case(name)
}

fn contains(sql: &[u8], lower: &[u8]) -> bool {
    sql.windows(lower.len())
        .any(|window| window.eq_ignore_ascii_case(lower))
}

/// Words as far as they go: a run of letters, digits and underscores.
struct Words<'s>(&'s [u8]);

impl Words<'_> {
    fn peek_is(&self, name: &[u8]) -> bool {
        Words(self.0).next().is_some_and(|word| is(word, name))
    }
}

impl<'s> Iterator for Words<'s> {
    type Item = &'s [u8];

    /// The next word; a character that no word has is given as one by itself, so that it is not overlooked.
    fn next(&mut self) -> Option<&'s [u8]> {
        let is_apart = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let start = self.0.iter().position(|byte| !is_apart(byte))?;
        let rest = &self.0[start..];
        let length = rest
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
            .unwrap_or(rest.len())
            .max(1);
        let (word, rest) = rest.split_at(length);
        self.0 = rest;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_begin_and_nothing_but_a_begin_is_held_back() {
        assert_eq!(Begin::parse(b"BEGIN"), Some(Begin::default()));
        assert_eq!(
            Begin::parse(b" begin transaction ; "),
            Some(Begin::default())
        );
        let full = b"BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY NOT DEFERRABLE";
        let expected = Begin {
            read_only: true,
            serializable: true,
            isolation: true,
        };
        assert_eq!(Begin::parse(full), Some(expected));
        let expected = Begin {
            isolation: true,
            ..Begin::default()
        };
        assert_eq!(
            Begin::parse(b"START TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE"),
            Some(expected)
        );
        for other in [
            &b"BEGIN; SELECT 1"[..],
            b"BEGIN ATOMIC",
            b"BEGIN READ",
            b"BEGINNING",
            b"BEGIN /* x */ READ ONLY",
            b"SELECT 1",
            b"",
        ] {
            assert_eq!(
                Begin::parse(other),
                None,
                "{:?}",
                String::from_utf8_lossy(other)
            );
        }
    }

    #[test]
    fn ends_of_transactions_are_told_apart() {
        assert!(
            is_commit(b" commit ;")
                && !is_commit(b"COMMIT AND CHAIN")
                && !is_commit(b"commit; select 1")
        );
        assert!(is_rollback(b"ROLLBACK") && !is_rollback(b"ROLLBACK TO SAVEPOINT a"));
        for commits in [
            &b"COMMIT\0"[..],
            b" commit;",
            b"END",
            b"Commit and chain",
            b"-- x\ncommit",
        ] {
            assert!(may_commit(commits.trim_ascii_end()), "{commits:?}");
        }
        assert!(!may_commit(b"COMMITTED") && !may_commit(b"SELECT 1") && !may_commit(b""));
    }

    #[test]
    fn what_matters_to_a_session_is_noticed() {
        assert!(touches_resolution(b"SET Search_Path = a") && touches_resolution(b"set role x"));
        assert!(touches_resolution(b"discard all") && !touches_resolution(b"select 1"));
        assert!(
            is_ddl_tag(b"ALTER TABLE") && is_ddl_tag(b"CREATE TABLE") && !is_ddl_tag(b"SELECT 1")
        );
        assert!(
            wants_to_be_alone(b"vacuum t")
                && wants_to_be_alone(b"create index concurrently i on t(x)")
        );
        assert!(!wants_to_be_alone(b"create table t()"));
        assert_eq!(needs_own_session(b"listen c"), Some("LISTEN"));
        assert!(needs_own_session(b"select pg_try_advisory_lock(1)").is_some());
        assert_eq!(needs_own_session(b"select pg_advisory_xact_lock(1)"), None);
        assert!(
            is_plain_select(b"/* a */ select 1") && !is_plain_select(b"select pg_notify('a', 'b')")
        );
        assert!(!is_plain_select(b"with a as (select 1) select 1"));
    }
}
