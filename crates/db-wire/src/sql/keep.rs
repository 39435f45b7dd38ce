//! Which statements may be kept prepared, because nothing can change what they mean.
//!
//! The server plans a prepared SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, TABLE, or a WITH of these, again when its
//! tables, the search path or the role have changed. It refuses the statement (0A000) if the result has other columns.
//! A utility command is not planned again: FETCH, EXECUTE, SHOW and EXPLAIN keep the columns that they had when they
//! were prepared. And the server reads a string constant when it parses the statement: `'now'`, a date under another
//! `DateStyle` and a time in another zone keep the value that they had then. It also decides then what a comparison
//! with NULL means. diesel's DSL binds its values, so its statements are kept.

use crate::sql::statements::{first, only};
use crate::sql::tokens::{Sql, Token, Tokens};

/// Whether the wire may keep a text prepared and rely on its description until something changes its meaning.
pub(crate) fn is_keepable(sql: Sql<'_>) -> bool {
    let Some(statement) = only(sql) else {
        return false;
    };
    if !first(statement).is_any(REVALIDATED) {
        return false;
    }
    let mut previous = Token::Odd;
    Tokens::of(statement).all(|token| {
        // SELECT INTO is a utility command.
        let makes_a_table = token.is(b"INTO") && !previous.is_any(&[b"INSERT", b"MERGE"]);
        let compares = is_null_compared(previous, token);
        previous = token;
        !makes_a_table && !compares && !matches!(token, Token::String(_) | Token::Odd)
    })
}

/// Under `transform_null_equals`, `x = NULL` is parsed as `x IS NULL`.
fn is_null_compared(one: Token<'_>, next: Token<'_>) -> bool {
    let equals = Token::Symbol(b'=');
    (one == equals && next.is(b"NULL")) || (one.is(b"NULL") && next == equals)
}

/// Whether a text is one query whose end the wire knows, so that a COMMIT may be put after it.
pub(crate) fn may_be_last(sql: Sql<'_>) -> bool {
    let whole = || Tokens::of(sql).all(|token| token != Token::Odd);
    only(sql).is_some_and(|statement| first(statement).is_any(REVALIDATED)) && whole()
}

/// Commands whose plans the server revalidates.
const REVALIDATED: &[&[u8]] = &[
    b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"VALUES", b"TABLE", b"WITH",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_revalidates_and_reads_no_constant_is_kept() {
        let kept = |sql: &str| is_keepable(Sql::of(sql.as_bytes()));
        for sql in [
            r#"SELECT "users"."id" FROM "users" WHERE ("users"."id" = $1) LIMIT $2 -- binds: ['1']"#,
            r#"INSERT INTO "users" ("name") VALUES ($1), (DEFAULT) RETURNING "users"."id""#,
            "(select 1) union (select 2)",
            "with a as (insert into b values ($1) returning 1) select * from a",
            "merge into t using s on t.id = s.id when matched then delete",
            "table t;",
            "values (1, 2.5e3)",
            "select a = $1, null from t where b is null and c is not null -- = null",
        ] {
            assert!(kept(sql), "{sql}");
        }
        for sql in [
            "FETCH ALL FROM cur",
            "MOVE cur",
            "EXECUTE p",
            "SHOW search_path",
            "EXPLAIN SELECT 1",
            "DECLARE c CURSOR FOR SELECT 1",
            "CALL p($1)",
            "COPY t TO STDOUT",
            "select 'now'::timestamptz",
            "select timestamptz '2025-01-01 00:00'",
            "select E'a', 1",
            "select U&'a'",
            "select $$a$$",
            "select $a$ b $a$",
            "select B'1', X'F', N'a'",
            "select x'f'",
            "select 1; select 2",
            "select 1 into t",
            "select 1 from t where a = null",
            "select 1 from t where NULL /* */ = a",
            "select \"a",
            "",
        ] {
            assert!(!kept(sql), "{sql}");
        }
    }

    #[test]
    fn a_commit_follows_one_whole_query() {
        let last = |sql: &str| may_be_last(Sql::of(sql.as_bytes()));
        for sql in [
            "insert into t values ('a; copy')",
            "update t set a = 1; -- done",
            "with a as (delete from t returning 1) select * from a /* ; */",
            "select 1 into t",
        ] {
            assert!(last(sql), "{sql}");
        }
        for sql in [
            "",
            "copy t from stdin",
            "commit",
            "savepoint a",
            "call p()",
            "update t set a = 1; update t set a = 2",
            "select 'a",
            "select 1 /* ",
        ] {
            assert!(!last(sql), "{sql}");
        }
    }
}
