//! Which statements change what later statements mean. After such a statement, the wire can trust nothing that it
//! keeps.
//!
//! The meaning of a kept statement depends on how its names are resolved and on the settings that parsing reads.
//! The server checks for changes of the search path, of the role and of the objects that it has resolved. It does
//! not check other settings. So every setting counts, unless it is known to matter only to execution.

use crate::sql::statements::{first, statements};
use crate::sql::tokens::{Sql, Token, Tokens};

/// Whether a text may change what later statements mean.
pub(crate) fn changes_meaning(sql: Sql<'_>) -> bool {
    statements(sql).any(|one| {
        let mut words = Tokens::of(one);
        let sets = match words.next().unwrap_or(Token::Odd) {
            Token::Odd => true,
            word if word.is_any(CHANGERS) => true,
            word if word.is(b"SET") => sets_meaning(words),
            _ => makes_a_table(one),
        };
        sets || configures_meaning(one)
    })
}

/// Whether the command that a tag names may have changed a table.
pub(crate) fn is_ddl_tag(tag: &[u8]) -> bool {
    [&b"ALTER"[..], b"CREATE", b"DROP"]
        .iter()
        .any(|word| tag.starts_with(word))
}

/// Whether the command that this DDL tag names may have made earlier plans wrong. The server makes a plan anew when a
/// relation changes. It does not always do so when something else changes: a function that was called while the plan
/// was made, the overload that a name meant, a type in a constant.
pub(crate) fn outdates_plans(tag: &[u8]) -> bool {
    const FOLLOWED: [&[u8]; 7] = [
        b"CREATE TABLE",
        b"CREATE INDEX",
        b"CREATE SEQUENCE",
        b"CREATE VIEW",
        b"DROP TABLE",
        b"DROP INDEX",
        b"DROP SEQUENCE",
    ];
    is_ddl_tag(tag) && !FOLLOWED.iter().any(|known| tag.starts_with(known))
}

/// Whether the command that a tag names has forgotten every prepared statement.
pub(crate) fn forgets_names(tag: &[u8]) -> bool {
    tag.starts_with(b"DISCARD ALL") || tag.starts_with(b"DEALLOCATE ALL")
}

/// Reads what follows SET. `SET ROLE`, `SET SCHEMA`, `SET TIME ZONE` and similar forms set settings with other
/// names. None of those matters only to execution.
fn sets_meaning(mut words: Tokens<'_>) -> bool {
    let _scope = words.eat(b"LOCAL") || words.eat(b"SESSION");
    let Some(name) = words.next() else {
        return true;
    };
    if name.is_any(&[b"TRANSACTION", b"CONSTRAINTS", b"CHARACTERISTICS"]) {
        return false;
    }
    // A name of two parts belongs to an extension or to the program, and is read when it is needed.
    if words.eat_symbol(b'.') {
        return false;
    }
    match name {
        Token::Word(name) => !is_of_execution(name),
        _ => true,
    }
}

/// A `set_config` of such a setting, or of a setting that the text does not show.
fn configures_meaning(statement: Sql<'_>) -> bool {
    let mut tokens = Tokens::of(statement);
    while let Some(token) = tokens.next() {
        let is_it = match token {
            Token::Word(_) => token.is(b"set_config"),
            Token::Quoted(name) => name == b"set_config",
            Token::Odd => return true,
            _ => false,
        };
        if !is_it || !tokens.eat_symbol(b'(') {
            continue;
        }
        let known = match tokens.next() {
            Some(Token::String([b'\'', name @ .., b'\''])) => {
                name.contains(&b'.') || is_of_execution(name)
            }
            _ => false,
        };
        if !known {
            return true;
        }
    }
    false
}

/// `SELECT .. INTO`: its table may hide another one, and the command has no tag of its own.
fn makes_a_table(statement: Sql<'_>) -> bool {
    let mut previous = Token::Odd;
    let made = Tokens::of(statement).any(|token| {
        let made = token.is(b"INTO") && !previous.is_any(&[b"INSERT", b"MERGE"]);
        previous = token;
        made
    });
    made && first(statement).is_any(&[b"SELECT", b"WITH", b"VALUES", b"TABLE"])
}

/// Whether a setting, in upper or lower case, cannot change what a statement means. It may change how long the
/// statement takes.
fn is_of_execution(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    EXECUTION.binary_search(&name.as_slice()).is_ok()
        || [
            &b"enable_"[..],
            b"jit",
            b"geqo",
            b"log_",
            b"track_",
            b"debug_",
            b"vacuum_",
        ]
        .iter()
        .any(|family| name.starts_with(family))
}

/// Commands that may change what names or plans mean. Some of them do it invisibly.
const CHANGERS: &[&[u8]] = &[
    b"DISCARD",
    b"RESET",
    b"DEALLOCATE",
    b"DO",
    b"CALL",
    b"CREATE",
    b"ALTER",
    b"DROP",
    b"IMPORT",
    b"LOAD",
    b"SECURITY",
];

/// Settings that matter only to execution, sorted. `row_security` and `transform_null_equals` are not among them,
/// nor is any other setting that the parser or the rewriter reads.
#[rustfmt::skip]
const EXECUTION: &[&[u8]] = &[
    b"application_name", b"backend_flush_after", b"bytea_output", b"client_connection_check_interval",
    b"client_min_messages", b"commit_delay", b"commit_siblings", b"cpu_index_tuple_cost", b"cpu_operator_cost",
    b"cpu_tuple_cost", b"cursor_tuple_fraction", b"deadlock_timeout", b"default_statistics_target",
    b"default_transaction_deferrable", b"default_transaction_isolation", b"default_transaction_read_only",
    b"effective_cache_size", b"effective_io_concurrency", b"exit_on_error", b"extra_float_digits",
    b"from_collapse_limit", b"hash_mem_multiplier", b"idle_in_transaction_session_timeout",
    b"idle_session_timeout", b"join_collapse_limit", b"lock_timeout", b"logical_decoding_work_mem",
    b"maintenance_io_concurrency", b"maintenance_work_mem", b"max_parallel_maintenance_workers",
    b"max_parallel_workers", b"max_parallel_workers_per_gather", b"max_stack_depth",
    b"min_parallel_index_scan_size", b"min_parallel_table_scan_size", b"parallel_leader_participation",
    b"parallel_setup_cost", b"parallel_tuple_cost", b"plan_cache_mode", b"random_page_cost", b"seed",
    b"seq_page_cost", b"statement_timeout", b"synchronize_seqscans", b"synchronous_commit",
    b"tcp_keepalives_count", b"tcp_keepalives_idle", b"tcp_keepalives_interval", b"tcp_user_timeout",
    b"temp_buffers", b"temp_file_limit", b"trace_notify", b"trace_sort", b"transaction_deferrable",
    b"transaction_isolation", b"transaction_read_only", b"transaction_timeout", b"wal_compression",
    b"wal_sender_timeout", b"wal_skip_threshold", b"work_mem",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_meaning_of_later_statements_is_noticed() {
        assert!(EXECUTION.is_sorted_by(|one, next| one < next));
        let changes = |sql: &str| changes_meaning(Sql::of(sql.as_bytes()));
        for sql in [
            "SET Search_Path = a",
            "set role x",
            "SET  LOCAL\nROLE x",
            "set schema 'a'",
            "select 1; set session authorization x",
            "set transform_null_equals = on",
            "set local time zone 'Asia/Tokyo'",
            "set session datestyle = 'german'",
            "set \"search_path\" = a",
            "set names 'latin1'",
            "set standard_conforming_strings = off",
            "select set_config('search_path', $1, true)",
            "select pg_catalog.set_config ( $1, $2, true)",
            "select \"set_config\"('row_security', 'off', true)",
            "select set_config('app.a', 'b', true), set_config('role', 'b', true)",
            "create temp table a as select 1",
            "select 1 into temp a",
            "with a as (select 1) select * into b from a",
            "discard all",
            "do $$ begin end $$",
            "select 'never ends",
        ] {
            assert!(changes(sql), "{sql}");
        }
        for sql in [
            "select 1",
            "insert into a values ('set search_path = b')",
            "with a as (insert into b values (1) returning 1) select * from a",
            "update a set \"role\" = 1 -- ; set role x",
            "set local lock_timeout = '2s'",
            "SET Statement_Timeout TO 5",
            "set enable_seqscan = off",
            "set app.tenant = '5'",
            "set transaction isolation level serializable",
            "set constraints all deferred",
            "select set_config('app.tenant', $1, true)",
            "select set_config('work_mem', '1MB', true)",
            "select 'search_path', \"search_path\" from t",
        ] {
            assert!(!changes(sql), "{sql}");
        }
        assert!(is_ddl_tag(b"ALTER TABLE") && is_ddl_tag(b"CREATE TABLE"));
        assert!(!is_ddl_tag(b"SELECT 1"));
        assert!(outdates_plans(b"CREATE FUNCTION\0") && outdates_plans(b"ALTER TABLE\0"));
        assert!(!outdates_plans(b"CREATE TABLE\0") && !outdates_plans(b"INSERT 0 1\0"));
        assert!(forgets_names(b"DISCARD ALL\0") && !forgets_names(b"DEALLOCATE\0"));
    }
}
