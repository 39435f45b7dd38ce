//! Texts that need a session of their own, which a transaction-mode pooler does not give.

use crate::sql::residue::ENDS_WITH_TRANSACTION;
use crate::sql::statements::{only, statements};
use crate::sql::tokens::{Sql, Token, Tokens};

/// The part of a text that needs a session of its own, named as in a refusal.
///
/// `in_transaction` says whether it runs in a transaction block, in which a temporary object may stay until COMMIT.
pub(crate) fn needs_own_session(sql: Sql<'_>, in_transaction: bool) -> Option<&'static str> {
    // Several statements in one text form one transaction.
    let in_transaction = in_transaction || only(sql).is_none();
    statements(sql).find_map(|one| object_of(one, in_transaction))
}

fn object_of(statement: Sql<'_>, in_transaction: bool) -> Option<&'static str> {
    let mut words = Tokens::of(statement);
    let first = words.next()?;
    let by_command = if first.is(b"LISTEN") {
        Some("LISTEN")
    } else if first.is(b"LOAD") {
        Some("LOAD")
    } else if first.is(b"PREPARE") && !words.eat(b"TRANSACTION") {
        Some("PREPARE")
    } else if first.is(b"DECLARE") {
        holds(words.clone()).then_some("a cursor WITH HOLD")
    } else if first.is(b"CREATE") {
        temporary(words.clone(), in_transaction)
    } else {
        None
    };
    by_command.or_else(|| by_name(statement, in_transaction))
}

/// `DECLARE c CURSOR WITH HOLD FOR ..`
fn holds(mut words: Tokens<'_>) -> bool {
    while let Some(word) = words.next() {
        if word.is(b"FOR") {
            return false;
        }
        if word.is(b"WITH") && words.eat(b"HOLD") {
            return true;
        }
    }
    false
}

/// `CREATE TEMP TABLE`, VIEW or SEQUENCE. An object that COMMIT drops belongs to its transaction.
fn temporary(mut words: Tokens<'_>, in_transaction: bool) -> Option<&'static str> {
    let _or_replace = words.eat(b"OR") && words.eat(b"REPLACE");
    let _scope = words.eat(b"LOCAL") || words.eat(b"GLOBAL");
    if !words.eat(b"TEMP") && !words.eat(b"TEMPORARY") {
        return None;
    }
    let _recursive = words.eat(b"RECURSIVE");
    let kind = words.next()?;
    if kind.is(b"VIEW") {
        return Some("a temporary view");
    }
    if kind.is(b"SEQUENCE") {
        return Some("a temporary sequence");
    }
    let dropped = in_transaction && drops_on_commit(words);
    (!dropped).then_some("a temporary table")
}

fn drops_on_commit(mut words: Tokens<'_>) -> bool {
    while let Some(word) = words.next() {
        if word.is(b"ON") && words.eat(b"COMMIT") {
            return words.eat(b"DROP");
        }
    }
    false
}

/// A session-level lock, `SELECT .. INTO TEMP`, and objects that are made in the schema of temporary objects.
fn by_name(statement: Sql<'_>, in_transaction: bool) -> Option<&'static str> {
    let mut tokens = Tokens::of(statement);
    let makes = tokens.clone().next()?.is_any(&[b"CREATE", b"ALTER"]);
    while let Some(token) = tokens.next() {
        let name = match token {
            Token::Word(name) | Token::Quoted(name) => name,
            _ => continue,
        };
        if token.is(b"INTO") {
            let mut ahead = tokens.clone();
            let _scope = ahead.eat(b"LOCAL") || ahead.eat(b"GLOBAL");
            if ahead.eat(b"TEMP") || ahead.eat(b"TEMPORARY") {
                return Some("SELECT INTO a temporary table");
            }
        }
        let mut ahead = tokens.clone();
        if ahead.eat_symbol(b'(')
            && SESSION_LOCKS
                .iter()
                .any(|lock| name.eq_ignore_ascii_case(lock))
        {
            return Some("a session-level advisory lock");
        }
        let temporary = name.eq_ignore_ascii_case(b"pg_temp") && ahead.eat_symbol(b'.');
        if makes && temporary && !(in_transaction && drops_on_commit(ahead)) {
            return Some("an object in pg_temp");
        }
    }
    None
}

/// The name of a setting that a text sets for longer than its transaction, unless a pooler keeps the setting for each
/// of its clients; `interval_style` says whether this one keeps IntervalStyle.
pub(crate) fn sets_for_everybody(sql: Sql<'_>, interval_style: bool) -> Option<String> {
    statements(sql).find_map(|one| {
        let mut words = Tokens::of(one);
        if !words.eat(b"SET") {
            return configures(one, interval_style);
        }
        let mut name = words.next()?;
        if name.is_any(ENDS_WITH_TRANSACTION) {
            return None;
        }
        if name.is(b"SESSION") {
            name = words.next()?;
        }
        let is_kept = name.is_any(KEPT) || (interval_style && name.is(INTERVAL_STYLE));
        let shown = match name {
            Token::Word(name) | Token::Quoted(name) => String::from_utf8_lossy(name).into_owned(),
            _ => String::new(),
        };
        (!is_kept).then_some(shown)
    })
}

/// The same with `set_config(.., .., false)`. If the last argument is no constant, only the server knows.
fn configures(statement: Sql<'_>, interval_style: bool) -> Option<String> {
    let mut tokens = Tokens::of(statement);
    while let Some(token) = tokens.next() {
        let is_it = token.is(b"set_config") || token == Token::Quoted(b"set_config");
        if !is_it || !tokens.eat_symbol(b'(') || !lasts(tokens.clone()) {
            continue;
        }
        let name = match tokens.clone().next() {
            Some(Token::String([b'\'', name @ .., b'\''])) => name,
            _ => b"..",
        };
        let is_kept = Token::Word(name).is_any(KEPT)
            || (interval_style && name.eq_ignore_ascii_case(INTERVAL_STYLE));
        if !is_kept {
            return Some(String::from_utf8_lossy(name).into_owned());
        }
    }
    None
}

/// Whether the last argument of a call is `false`.
fn lasts(mut arguments: Tokens<'_>) -> bool {
    let mut depth = 0_u32;
    let mut last = Token::Symbol(b'(');
    for token in &mut arguments {
        match token {
            Token::Symbol(b')') if depth == 0 => break,
            Token::Symbol(b'(' | b'[') => depth += 1,
            Token::Symbol(b')' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        last = token;
    }
    match last {
        Token::String([b'\'', value @ .., b'\'']) => Token::Word(value).is_any(FALSE),
        value => value.is(b"false"),
    }
}

const FALSE: &[&[u8]] = &[b"f", b"false", b"off", b"no", b"n", b"0"];

const INTERVAL_STYLE: &[u8] = b"intervalstyle";

/// The settings that PgBouncer keeps for each of its clients. TIME ZONE and NAMES are other words for two of them.
const KEPT: &[&[u8]] = &[
    b"TIME",
    b"NAMES",
    b"timezone",
    b"client_encoding",
    b"datestyle",
    b"standard_conforming_strings",
    b"application_name",
];

const SESSION_LOCKS: &[&[u8]] = &[
    b"pg_advisory_lock",
    b"pg_advisory_lock_shared",
    b"pg_try_advisory_lock",
    b"pg_try_advisory_lock_shared",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_session_is_known_by_its_tokens() {
        let needs = |sql: &str| needs_own_session(Sql::of(sql.as_bytes()), false);
        for (sql, what) in [
            ("listen c", "LISTEN"),
            ("select 1; listen c", "LISTEN"),
            ("load 'x'", "LOAD"),
            ("prepare p as select 1", "PREPARE"),
            (
                "declare c cursor with hold for select 1",
                "a cursor WITH HOLD",
            ),
            (
                "declare c insensitive scroll cursor with hold for select 1",
                "a cursor WITH HOLD",
            ),
            (
                "select pg_try_advisory_lock(1)",
                "a session-level advisory lock",
            ),
            (
                "select pg_catalog.\"pg_advisory_lock\"(1)",
                "a session-level advisory lock",
            ),
            ("create temp table t (x int)", "a temporary table"),
            (
                "create local temporary table t (x int) on commit drop",
                "a temporary table",
            ),
            ("create table pg_temp.t (x int)", "an object in pg_temp"),
            (
                "create or replace temp view v as select 1",
                "a temporary view",
            ),
            (
                "create temp recursive view v (n) as select 1",
                "a temporary view",
            ),
            ("create temporary sequence s", "a temporary sequence"),
            ("select 1 into temp t", "SELECT INTO a temporary table"),
            (
                "select 1 into local temporary t",
                "SELECT INTO a temporary table",
            ),
        ] {
            assert_eq!(needs(sql), Some(what), "{sql}");
        }
        for sql in [
            "insert into notes values ('first; listen to this')",
            "select 1 -- not pg_try_advisory_lock(1)",
            "select pg_advisory_xact_lock(1)",
            "select \"listen\" from t",
            "select 'create temp table t'",
            "prepare transaction 'x'",
            "discard all",
            "unlisten c",
            "declare c cursor for select 1 as with_hold",
            "declare c cursor without hold for select 1",
            "select 1 into t",
            "create table temp (x int)",
            "select * from pg_temp.t",
        ] {
            assert_eq!(needs(sql), None, "{sql}");
        }
        let inside = |sql: &str| needs_own_session(Sql::of(sql.as_bytes()), true);
        assert_eq!(inside("create temp table t (x int) on commit drop"), None);
        assert_eq!(
            inside("create table pg_temp.t (x int) on commit drop"),
            None
        );
        assert!(inside("create temp table t (x int) on commit delete rows").is_some());
        assert_eq!(
            needs("create temp table t (x int) on commit drop; select 1"),
            None
        );
    }

    #[test]
    fn a_set_that_lasts_is_known_by_its_tokens() {
        let sets = |sql: &str| sets_for_everybody(Sql::of(sql.as_bytes()), false);
        for (sql, name) in [
            ("set x = 1", "x"),
            ("SET SESSION x TO 1", "x"),
            ("select 1; set role r", "role"),
            ("set \"search_path\" = a", "search_path"),
            ("set intervalstyle = iso_8601", "intervalstyle"),
            ("set session authorization x", "authorization"),
            (
                "select pg_catalog.set_config('work_mem', ' ', false)",
                "work_mem",
            ),
            ("select 1, \"set_config\"('a.b', (x), 'f')", "a.b"),
            ("select set_config($1, $2, false)", ".."),
        ] {
            assert_eq!(sets(sql).as_deref(), Some(name), "{sql}");
        }
        for sql in [
            "set local x = 1",
            "set transaction read only",
            "set constraints all deferred",
            "set time zone 'UTC'",
            "set names 'latin1'",
            "set session datestyle = german",
            "update t set x = 1",
            "select ';set x = 1'",
            "select set_config('a.b', 'false', true)",
            "select set_config('TimeZone', 'UTC', false)",
            "select set_config($1, $2, $3)",
            "select 'set_config(''a'', ''b'', false)'",
        ] {
            assert_eq!(sets(sql), None, "{sql}");
        }
        assert_eq!(
            sets_for_everybody(Sql::of(b"set IntervalStyle = iso_8601"), true),
            None
        );
    }
}
