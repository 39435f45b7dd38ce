//! Which texts may leave something in the session.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::sql::residue::Residue;
use crate::sql::session_objects::sets_for_everybody;
use crate::sql::tokens::Sql;

fn assert_all(residue: Residue, texts: &[&str]) {
    for sql in texts {
        assert_eq!(Residue::of(Sql::of(sql.as_bytes())), residue, "{sql}");
    }
}

/// Texts as diesel writes them: an ordinary holder pays nothing.
#[test]
fn what_diesel_writes_is_clean() {
    assert_all(
        Residue::Nothing,
        &[
            r#"SELECT "users"."id", "users"."name" FROM "users" WHERE ("users"."id" = $1) LIMIT $2 -- binds: [1]"#,
            r#"INSERT INTO "users" ("name", "hair_color") VALUES ($1, $2), ($3, DEFAULT) RETURNING "users"."id""#,
            r#"INSERT INTO "blog"."users" ("id") VALUES ($1) ON CONFLICT ("id") DO UPDATE SET "name" = excluded."name""#,
            r#"INSERT INTO "users" ("id") SELECT "posts"."id" FROM "posts" ON CONFLICT ON CONSTRAINT "u" DO NOTHING"#,
            r#"INSERT INTO "users" DEFAULT VALUES"#,
            r#"UPDATE "users" SET "balance" = ("users"."balance" + $1) WHERE ("users"."id" = $2)"#,
            r#"DELETE  FROM "users" WHERE ("users"."id" = ANY($1))"#,
            r#"SELECT "a"."id" FROM ("a" INNER JOIN ("b" INNER JOIN "c" ON ("b"."id" = "c"."b")) ON ("a"."id" = "b"."a"))"#,
            r#"SELECT "a"."id" FROM ("a" LEFT OUTER JOIN "b" ON ("b"."id" = "a"."b")) ORDER BY "a"."id" DESC"#,
            r#"SELECT COUNT(*), max("a"."x"), sum("a"."x") FROM "a" GROUP BY "a"."y" HAVING (COUNT("a"."id") > $1)"#,
            r#"SELECT EXISTS (SELECT "a"."id" FROM "a" WHERE ("a"."id" IN ($1, $2)))"#,
            r#"SELECT DISTINCT ON ("a"."x") "a"."x" FROM "a" FOR UPDATE SKIP LOCKED"#,
            r#"SELECT CAST($1 AS numeric(10,2)), lower("a"."x"), "lower"($2), now() FROM "a""#,
            r#"SELECT count(*) FILTER (WHERE ("a"."x" > $1)), rank() OVER (PARTITION BY ("a"."x")) FROM "a""#,
            r#"SELECT *, COUNT(*) OVER () FROM (SELECT "a"."id" FROM "a") t LIMIT $1 OFFSET $2"#,
            r#"SELECT DISTINCT ON ("a"."x") "a"."x", row_number() OVER (ORDER BY "a"."y") FROM "a""#,
            r#"SELECT "pg_type"."oid" FROM "pg_type" WHERE ("pg_type"."typnamespace" = pg_my_temp_schema())"#,
            r#"COPY "users" ("id", "name") FROM STDIN"#,
            "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT diesel_savepoint_1",
            "RELEASE SAVEPOINT diesel_savepoint_1",
            "ROLLBACK TO SAVEPOINT diesel_savepoint_1",
        ],
    );
}

#[test]
fn what_ends_with_its_transaction_is_clean() {
    assert_all(
        Residue::Nothing,
        &[
            "",
            ";;",
            "select 1; select 2;",
            "(select 1) union (values (1), (2))",
            "select set_config('app.tenant', $1, true), pg_catalog.set_config('a', f, TRUE) from t",
            "set local role x; set transaction read only; set constraints all deferred",
            "select pg_advisory_xact_lock(hashtext($1))",
            "declare c cursor for select 1; fetch 10 from c; close c",
            "with a (x, y) as (select 1, 2), b as materialized (select 1) select * from a",
            "with recursive a(x) as (select 1 union all (select x + 1 from a)) select x from a",
            "select x::varchar(10), y::numeric (10, 2), z::public.money(3), a::character varying(5) from t",
            "select extract(epoch from now()), coalesce(a, b), trim(both from c), array(select 1)",
            "select percentile_cont(0.5) within group (order by x), x at time zone ($1) from t",
            "select * from (values (1)) as v (id) join (select 1) s on (true) left join lateral (select 1) l on true",
            "select a from t group by rollup (a), grouping sets ((a), ()) fetch first (1) rows only",
            "insert into t as u (a) values (1) on conflict (a) where (a > 1) do nothing",
            "merge into t using s on (a = b) when not matched then insert (a) values (1)",
            "explain (analyze, buffers) select count(*) from t",
            "explain analyze update t set a = 1",
            "select 'app.evil(1)', $$ app.evil(2) $$ /* app.evil(3) */ -- app.evil(4)",
            "notify c, 'x'; lock table t in share mode; truncate t; show all; prepare transaction 'x'",
            "select left(a, 1) like ('b') from t tablesample bernoulli (10)",
        ],
    );
}

/// case R30
#[test]
fn what_changes_the_session_is_marked() {
    assert_all(
        Residue::Undoable,
        &[
            "SET search_path = a",
            "set session characteristics as transaction read only",
            "SET ROLE x",
            "select 1; /* x */ set role x",
            "reset all",
            "discard all",
            "LISTEN c",
            "create temp table a as select 1",
            "select 1 into temp a",
            "declare c cursor with hold for select 1",
            "explain analyze create temp table a as select 1",
            "explain analyze execute a",
            "select pg_advisory_lock(1)",
            "select PG_TRY_ADVISORY_LOCK(1)",
            "select nextval('s')",
            "select set_config('app.tenant', 'a', false)",
            "select set_config('app.tenant', 'a', $1)",
            "select set_config('app.tenant', 'a', not true)",
            "select set_config('app.tenant', f(x, true), false or true)",
            "do $$ begin end $$",
            "call p()",
            "no_command()",
            "select 'never ends",
        ],
    );
    assert_all(
        Residue::Lasting,
        &[
            "PREPARE a AS select 1",
            "load 'x'",
            "select 1; prepare a as select 1; set a = 1",
        ],
    );
}

/// An unknown function may call set_config and leave a tenant to the next holder.
#[test]
fn a_call_of_an_unknown_function_is_marked_however_it_is_written() {
    for call in [
        "app.set_tenant($1)",
        "set_tenant ($1)",
        "\"set_tenant\"($1)",
        "app . \"set_tenant\" /* x */ ($1)",
        "a.app.set_tenant($1)",
        "app.lower($1)",
        "\"pg_catalog\".set_tenant($1)",
        "(r).lower(1)",
        "lower(set_tenant($1))",
        "\"Lower\"($1)",
        "\"coalesce\"($1)",
        "app.coalesce($1)",
        "join(1)",
        "filter(1)",
        "over(1)",
        "over()",
        "insert(1)",
        "by(1)",
        "set(1)",
        "conflict(1)",
        "x[1:set_tenant(1)]",
        "é($1)",
        "system(1)",
    ] {
        let texts = [
            format!("select {call}"),
            format!("select 1, {call} from t"),
            format!("select * from {call}"),
            format!("select * from t join u on {call}"),
            format!("select * from t, lateral {call} as f (a int)"),
            format!("select distinct on (a) {call} from t"),
            format!("insert into t (a) values ({call})"),
            format!("insert into t (a) select {call} on conflict (a) do nothing"),
            format!("update t set a = 1 where b = {call}"),
            format!("with a (x) as (select {call}) select x from a"),
            format!("explain analyze (select {call})"),
            format!("copy (select {call}) to stdout"),
            format!("select 'it''s', E'\\'', $a$ ( $a$, {call}"),
            format!("begin; select {call}; commit"),
        ];
        for sql in texts {
            assert_ne!(
                Residue::of(Sql::of(sql.as_bytes())),
                Residue::Nothing,
                "{sql}"
            );
        }
    }
}

const FRAGMENTS: &[&str] = &[
    "select",
    "from",
    "where",
    "insert",
    "into",
    "values",
    "update",
    "set",
    "with",
    "as",
    "join",
    "on",
    "conflict",
    "over",
    "filter",
    "group",
    "by",
    "order",
    "in",
    "any",
    "not",
    "and",
    "copy",
    "explain",
    "distinct",
    "left",
    "lateral",
    "then",
    "::",
    ".",
    ",",
    "(",
    ")",
    "[",
    "]",
    "=",
    "+",
    ":",
    "*",
    "'it''s'",
    "E'\\''",
    "$$ ' $$",
    "$t$ $$ $t$",
    "$1",
    "1.5",
    "\"a\"\"b\"",
    "\"t\"",
    "t",
    "pg_catalog",
    "lower(",
    "count(*)",
    "-- x\n",
    "/* ' */",
    "/* /* */ \" */",
    ";",
];

/// Whether a name after it has a list of columns or the size of a type, or is a part of a longer name.
fn takes_the_name(before: &[&str]) -> bool {
    let is_comment = |text: &&&str| text.starts_with("--") || text.starts_with("/*");
    let last = before.iter().rfind(|text| !is_comment(text));
    last.is_some_and(|last| ["into", "as", "with", "copy", "::", "."].contains(last))
}

/// The call is never overlooked, whatever tokens stand around it.
#[test]
fn a_call_of_an_unknown_function_is_marked_among_any_tokens() {
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..50_000 {
        let mut some = || {
            let count = random.usize(..12);
            let one = |_| *random.choice(FRAGMENTS).unwrap();
            (0..count).map(one).collect::<Vec<_>>()
        };
        let (before, after) = (some(), some());
        if takes_the_name(&before) {
            continue;
        }
        let sql = format!("{} app.evil({}", before.join(" "), after.join(" "));
        let residue = Residue::of(Sql::of(sql.as_bytes()));
        assert_ne!(residue, Residue::Nothing, "seed {seed}: {sql}");
    }
}

/// case R32
#[test]
fn only_a_set_that_others_would_see_is_refused() {
    for refused in [
        "SET statement_timeout = 1",
        "set session search_path to a",
        "select 1; set role x",
        "/* x */ SET SESSION AUTHORIZATION x",
        "set session characteristics as transaction read only",
    ] {
        assert!(
            sets_for_everybody(Sql::of(refused.as_bytes()), true).is_some(),
            "{refused}"
        );
    }
    for fine in [
        "SET LOCAL statement_timeout = 1",
        "set transaction read only",
        "set constraints all deferred",
        "SET TIME ZONE 'UTC'",
        "set session timezone = 'UTC'",
        "set client_encoding to 'UTF8'",
        "set names 'UTF8'",
        "update t set a = 1; select 1",
        "insert into t values ('; set role x')",
        "select $$; set role x; $$; select 1",
    ] {
        assert!(
            sets_for_everybody(Sql::of(fine.as_bytes()), true).is_none(),
            "{fine}"
        );
    }
}
