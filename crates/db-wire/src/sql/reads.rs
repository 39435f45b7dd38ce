//! Which statements only read, and which of them need no transaction.

use crate::sql::harmless::{is_harmless_function, is_syntax};
use crate::sql::residue::Residue;
use crate::sql::statements::{first, only};
use crate::sql::tokens::{Sql, Token, Tokens};

/// What a statement's text shows about reading and writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reads {
    /// It may change something, or it is no query.
    #[default]
    No,
    /// It is a query, and the functions in it change nothing.
    Only,
    /// The same, and it returns the same outside a transaction as in a READ COMMITTED transaction: it takes no
    /// lock, and uses nothing that is fixed for a whole transaction.
    Alone,
}

impl Reads {
    /// Reads a text. It does not see what the server does because of the text: views, operators, policies.
    pub(crate) fn of(sql: Sql<'_>) -> Self {
        let Some(statement) = only(sql) else {
            return Self::No;
        };
        let is_query = first(statement).is_any(&[b"SELECT", b"VALUES", b"TABLE", b"WITH"]);
        if !is_query || Residue::of(statement) != Residue::Nothing {
            return Self::No;
        }
        let mut reads = Self::Alone;
        let mut before = Token::Odd;
        let mut tokens = Tokens::of(statement);
        while let Some(token) = tokens.next() {
            let one = match token {
                Token::Word(word) => reads_with(word, token, before, &tokens),
                Token::Quoted(name) if calls(&tokens) && !is_calm(name) => Self::No,
                // `'now'` and `'today'` are fixed for a transaction.
                Token::String(_) => Self::Only,
                Token::Odd => Self::No,
                _ => Self::Alone,
            };
            reads = reads.min(one);
            before = token;
        }
        reads
    }
}

fn reads_with(word: &[u8], token: Token<'_>, before: Token<'_>, rest: &Tokens<'_>) -> Reads {
    // A WITH may contain these, and INTO makes a table.
    if token.is_any(&[b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"INTO"]) && before != PERIOD {
        return match before.is_any(&[b"FOR", b"KEY"]) {
            true => Reads::Only,
            false => Reads::No,
        };
    }
    let lower = word.to_ascii_lowercase();
    if token.is_any(OF_THE_TRANSACTION) || (before.is(b"FOR") && token.is_any(LOCKS)) {
        return Reads::Only;
    }
    if !calls(rest) || is_syntax(word) {
        return Reads::Alone;
    }
    match lower.as_slice() {
        name if WRITES.contains(&name) => Reads::No,
        name if is_calm(name) => Reads::Alone,
        name if is_harmless_function(name) => Reads::Only,
        // `Residue` has seen that it is no function.
        _ => Reads::Alone,
    }
}

/// Whether a parenthesis follows.
fn calls(rest: &Tokens<'_>) -> bool {
    rest.clone().next() == Some(Token::Symbol(b'('))
}

/// Whether a function is known to return the same at any time and in any session, or to change with each
/// statement.
fn is_calm(name: &[u8]) -> bool {
    is_harmless_function(name) && !OF_A_SESSION.contains(&name) && !WRITES.contains(&name)
}

const PERIOD: Token<'static> = Token::Symbol(b'.');

/// The words after FOR: `FOR UPDATE`, `FOR NO KEY UPDATE`, `FOR SHARE`, `FOR KEY SHARE`.
const LOCKS: &[&[u8]] = &[b"UPDATE", b"NO", b"SHARE", b"KEY"];

/// Words whose value is fixed for a whole transaction, or types whose input may be (`$1::text::date` of `today`).
const OF_THE_TRANSACTION: &[&[u8]] = &[
    b"CURRENT_DATE",
    b"CURRENT_TIME",
    b"CURRENT_TIMESTAMP",
    b"LOCALTIME",
    b"LOCALTIMESTAMP",
    b"DATE",
    b"TIME",
    b"TIMETZ",
    b"TIMESTAMP",
    b"TIMESTAMPTZ",
    b"ABSTIME",
];

/// Harmless functions that nevertheless do something. A transaction whose end nobody waits for must not call them.
const WRITES: &[&[u8]] = &[
    b"pg_notify",
    b"pg_cancel_backend",
    b"pg_terminate_backend",
    b"set_config",
];

/// Harmless functions whose answer depends on a transaction or a session, or that need one.
const OF_A_SESSION: &[&[u8]] = &[
    b"age",
    b"currval",
    b"current_query",
    b"current_setting",
    b"lastval",
    b"now",
    b"mxid_age",
    b"pg_advisory_unlock",
    b"pg_advisory_unlock_all",
    b"pg_advisory_unlock_shared",
    b"pg_advisory_xact_lock",
    b"pg_advisory_xact_lock_shared",
    b"pg_backend_pid",
    b"pg_client_encoding",
    b"pg_current_snapshot",
    b"pg_current_xact_id",
    b"pg_current_xact_id_if_assigned",
    b"pg_listening_channels",
    b"pg_my_temp_schema",
    b"pg_try_advisory_xact_lock",
    b"pg_try_advisory_xact_lock_shared",
    b"random",
    b"random_normal",
    b"inet_client_addr",
    b"inet_client_port",
    b"inet_server_addr",
    b"inet_server_port",
    b"date",
    b"timestamptz",
    b"timetz",
    b"to_date",
    b"to_timestamp",
    b"transaction_timestamp",
    b"txid_current",
    b"txid_current_if_assigned",
    b"txid_current_snapshot",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_known_by_what_it_calls() {
        let reads = |sql: &str| Reads::of(Sql::of(sql.as_bytes()));
        for sql in [
            r#"SELECT "users"."id" FROM "users" WHERE ("users"."id" = $1) LIMIT $2"#,
            r#"SELECT count(*), lower("a"."x") FROM "a" GROUP BY "a"."y""#,
            "(select 1) union (values (1), (2))",
            "with a as (select 1) select * from a",
            "table t",
            "select t.update, t.insert from t",
            "select clock_timestamp(), gen_random_uuid(), pg_sleep($1)",
        ] {
            assert_eq!(reads(sql), Reads::Alone, "{sql}");
        }
        for sql in [
            "select now()",
            "select pg_catalog.now()",
            "select current_date",
            "select 'a'",
            "select $1::date",
            "select * from t for update",
            "select * from t for no key update",
            "select * from t for key share skip locked",
            "select current_setting($1), pg_backend_pid()",
            "select pg_advisory_xact_lock(1)",
            "select random()",
        ] {
            assert_eq!(reads(sql), Reads::Only, "{sql}");
        }
        for sql in [
            "select pay()",
            "select 1 into t",
            "select nextval($1)",
            "select pg_notify($1, $2)",
            "select pg_catalog.\"pg_notify\"($1, $2)",
            "select lo_create(0)",
            "select set_config($1, $2, true)",
            "with a as (delete from t returning 1) select * from a",
            "with a as (update t set x = 1 returning 1) select * from a",
            "insert into t values (1)",
            "select 1; select 2",
            "fetch c",
            "explain analyze delete from t",
            "",
        ] {
            assert_eq!(reads(sql), Reads::No, "{sql}");
        }
    }
}
