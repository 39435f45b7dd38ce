//! Which statements PostgreSQL refuses together with others (25001). The wire sends each of them alone.

use crate::sql::statements::{first, only};
use crate::sql::tokens::{Sql, Token, Tokens};

/// Whether nothing may be put before it, because the server would then refuse it or do something else.
pub(crate) fn must_stand_alone(sql: Sql<'_>) -> bool {
    let Some(statement) = only(sql) else {
        return false;
    };
    let mut words = Tokens::of(statement);
    let (first, second) = (
        words.next().unwrap_or(Token::Odd),
        words.next().unwrap_or(Token::Odd),
    );
    first.is_any(&[b"VACUUM", b"CLUSTER", b"REINDEX"])
        || (first.is_any(&[b"COMMIT", b"ROLLBACK"]) && second.is(b"PREPARED"))
        || (first.is_any(&[b"CREATE", b"DROP"])
            && second.is_any(&[b"DATABASE", b"TABLESPACE", b"SUBSCRIPTION"]))
        || (first.is(b"ALTER") && second.is_any(&[b"SYSTEM", b"DATABASE", b"SUBSCRIPTION"]))
        || (first.is(b"ALTER") && second.is(b"TYPE") && words.any(|word| word.is(b"ADD")))
        || (first.is(b"DISCARD") && second.is(b"ALL"))
        || is_concurrent(statement, first)
}

/// Whether the server refuses it outside a transaction block (25P01). The wire must put nothing before it that makes
/// such a block.
pub(crate) fn needs_a_block(sql: Sql<'_>) -> bool {
    const NEEDS: &[&[u8]] = &[b"DECLARE", b"SAVEPOINT", b"RELEASE", b"LOCK"];
    only(sql).is_some_and(|statement| first(statement).is_any(NEEDS))
}

/// Whether it may commit in the middle of its work. The server allows that only if it stands alone.
pub(crate) fn runs_a_procedure(sql: Sql<'_>) -> bool {
    only(sql).is_some_and(|statement| first(statement).is_any(&[b"CALL", b"DO"]))
}

/// `CREATE INDEX CONCURRENTLY`, `DROP INDEX CONCURRENTLY`, `ALTER TABLE .. DETACH PARTITION .. CONCURRENTLY`. REFRESH
/// MATERIALIZED VIEW CONCURRENTLY may run in a transaction.
fn is_concurrent(statement: Sql<'_>, first: Token<'_>) -> bool {
    first.is_any(&[b"CREATE", b"DROP", b"ALTER"])
        && Tokens::of(statement).any(|word| word.is(b"CONCURRENTLY"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_stand_alone_is_known_by_its_tokens() {
        let alone = |sql: &str| must_stand_alone(Sql::of(sql.as_bytes()));
        for sql in [
            "vacuum t",
            "vacuum (analyze) t;",
            "create index concurrently i on t(x)",
            "create unique index /* x */ concurrently i on t(x)",
            "drop index concurrently i",
            "reindex table t",
            "alter type mm add value 'x'",
            "alter system set x = 1",
            "create database d",
            "commit prepared 'x'",
            "alter table t detach partition p concurrently",
        ] {
            assert!(alone(sql), "{sql}");
        }
        for sql in [
            "create table t()",
            "insert into c values ('ran concurrently')",
            "select max_concurrently, \"concurrently\" from t",
            "select 1 -- concurrently",
            "alter type mm rename to nn",
            "refresh materialized view concurrently v",
            "commit",
            "vacuum; select 1",
            "call p()",
        ] {
            assert!(!alone(sql), "{sql}");
        }
    }
}
