//! What the wire reads off a statement's text: its first words, and names that change a session.
//!
//! Each question is asked so that a wrong answer costs a round trip and never a wrong result.

pub(crate) use crate::sql::boundary::{End, controls_transaction, is_partial_rollback, may_commit};
use crate::sql::words::{Words, contains, find, is, is_any, pieces, trim};

/// Whether there is no statement in it.
pub(crate) fn is_blank(sql: &[u8]) -> bool {
    trim(sql).is_empty()
}

/// Whether a read-only transaction that ran it can be committed without waiting for the answer.
pub(crate) fn is_plain_select(sql: &[u8]) -> bool {
    is(Words::first(sql), b"SELECT")
        && !contains(sql, b"notify")
        && !contains(sql, b"set_config")
        && !contains(sql, b"lo_")
}

/// Whether it may change how later statements are resolved: then every description is forgotten.
pub(crate) fn touches_resolution(sql: &[u8]) -> bool {
    pieces(sql).any(|piece| {
        is_any(
            Words::first(piece),
            &[
                b"DISCARD",
                b"RESET",
                b"DEALLOCATE",
                b"DO",
                b"CALL",
                b"CREATE",
                b"ALTER",
                b"DROP",
            ],
        ) || sets_or_makes(piece)
    }) || contains(sql, b"search_path")
        || configures_resolution(sql)
}

/// A `set_config` of one of the settings by which names are resolved, or of one that cannot be told.
fn configures_resolution(sql: &[u8]) -> bool {
    let mut rest = sql;
    while let Some(place) = find(rest, SET_CONFIG) {
        rest = &rest[place + SET_CONFIG.len()..];
        let open = rest.trim_ascii_start().strip_prefix(b"(");
        let name = open.and_then(|open| open.trim_ascii_start().strip_prefix(b"'"));
        let name = name.and_then(|name| name.split(|byte| *byte == b'\'').next());
        match name {
            Some(name) if !is_any(name, &[b"search_path", b"role", b"session_authorization"]) => {}
            _ => return true,
        }
    }
    false
}

const SET_CONFIG: &[u8] = b"set_config";

/// `SET ROLE`, `SET SCHEMA` and `SET SESSION AUTHORIZATION`, and `SELECT .. INTO`, whose table may hide
/// another and has no tag of its own.
fn sets_or_makes(piece: &[u8]) -> bool {
    let sets = is(Words::first(piece), b"SET");
    let mut previous = &b""[..];
    for word in Words::of(piece) {
        let made = is(word, b"INTO") && !is_any(previous, &[b"INSERT", b"MERGE"]);
        if made || (sets && is_any(word, &[b"ROLE", b"SCHEMA", b"AUTHORIZATION"])) {
            return true;
        }
        previous = word;
    }
    false
}

/// Whether the command that a tag names may have changed a table.
pub(crate) fn is_ddl_tag(tag: &[u8]) -> bool {
    [&b"ALTER"[..], b"CREATE", b"DROP"]
        .iter()
        .any(|word| tag.starts_with(word))
}

/// Whether the command that a tag names has forgotten every prepared statement.
pub(crate) fn forgets_names(tag: &[u8]) -> bool {
    tag.starts_with(b"DISCARD ALL") || tag.starts_with(b"DEALLOCATE ALL")
}

/// Whether PostgreSQL refuses it beside other statements (25001): it is sent alone.
pub(crate) fn wants_to_be_alone(sql: &[u8]) -> bool {
    let mut words = Words::of(sql);
    let (first, second) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    is_any(first, &[b"VACUUM", b"CLUSTER", b"REINDEX"])
        || (is_any(first, &[b"CREATE", b"DROP"])
            && is_any(second, &[b"DATABASE", b"TABLESPACE", b"SUBSCRIPTION"]))
        || (is(first, b"ALTER")
            && is_any(second, &[b"SYSTEM", b"DATABASE", b"SUBSCRIPTION", b"TYPE"]))
        || contains(sql, b"concurrently")
}

/// What of it needs a session of its own, which a transaction pooler does not give.
pub(crate) fn needs_own_session(sql: &[u8]) -> Option<&'static str> {
    if pieces(sql).any(|piece| is(Words::first(piece), b"LISTEN")) {
        return Some("LISTEN");
    }
    let session_lock = [&b"pg_advisory_lock"[..], b"pg_try_advisory_lock"]
        .iter()
        .any(|name| contains(sql, name));
    session_lock.then_some("a session-level advisory lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_meaning_of_names_is_noticed() {
        for touching in [
            &b"SET Search_Path = a"[..],
            b"set role x",
            b"SET  LOCAL\nROLE x",
            b"set schema 'a'",
            b"select 1; set session authorization x",
            b"select set_config('search_path', $1, true)",
            b"select pg_catalog.set_config ( $1, $2, true)",
            b"select set_config('app.a', 'b', true), set_config('role', 'b', true)",
            b"create temp table a as select 1",
            b"select 1 into temp a",
            b"discard all",
            b"do $$ begin end $$",
        ] {
            assert!(touches_resolution(touching), "{}", touching.escape_ascii());
        }
        for other in [
            &b"select 1"[..],
            b"insert into a values (1)",
            b"with a as (insert into b values (1) returning 1) select * from a",
            b"update a set \"role\" = 1",
            b"set local lock_timeout = '2s'",
            b"select set_config('app.tenant', $1, true)",
        ] {
            assert!(!touches_resolution(other), "{}", other.escape_ascii());
        }
        assert!(is_ddl_tag(b"ALTER TABLE") && is_ddl_tag(b"CREATE TABLE"));
        assert!(!is_ddl_tag(b"SELECT 1"));
        assert!(forgets_names(b"DISCARD ALL\0") && !forgets_names(b"DEALLOCATE\0"));
    }

    #[test]
    fn what_matters_to_a_session_is_noticed() {
        assert!(wants_to_be_alone(b"vacuum t"));
        assert!(wants_to_be_alone(b"create index concurrently i on t(x)"));
        assert!(!wants_to_be_alone(b"create table t()"));
        assert_eq!(needs_own_session(b"listen c"), Some("LISTEN"));
        assert_eq!(needs_own_session(b"select 1; listen c"), Some("LISTEN"));
        assert!(needs_own_session(b"select pg_try_advisory_lock(1)").is_some());
        assert_eq!(needs_own_session(b"select pg_advisory_xact_lock(1)"), None);
        assert!(is_plain_select(b"/* a */ select 1"));
        assert!(!is_plain_select(b"select pg_notify('a', 'b')"));
        assert!(!is_plain_select(b"with a as (select 1) select 1"));
        assert!(is_blank(b" -- x") && is_blank(b";") && !is_blank(b"select 1"));
    }
}
