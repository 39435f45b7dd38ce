//! What is prepared, and what happens when a table, a path or a name changes underneath.

use app_db::{Pool, PoolProfile};
use db_pool::Statements;
use db_pool::plumbing;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Integer, SqlType, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{TestDatabase, wait_until};

use super::{bump, lines, one, prepared, sum, talkative, with_table};
use crate::SOON;
use crate::pool::url;

fn unnamed() -> PoolProfile {
    let mut profile = one();
    profile.statements = Statements::Unnamed;
    profile
}

/// Diesel does not cache an UPDATE, but the server parses it only once.
#[tokio::test]
async fn an_update_is_prepared_once() {
    let cluster = talkative().await;
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    with_table(&db).await;
    let pool = Pool::connect(url(&db.url()), one()).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    for id in 1..=5 {
        assert_eq!(bump(&mut conn, id).await, Ok(1));
    }
    assert_eq!(sum(&mut conn).await, Ok(5));
    let seen = async || lines(&cluster, "execute", "update t set n") == 5;
    wait_until("five executions in the log", SOON, seen).await;
    assert_eq!(lines(&cluster, "parse", "update t set n"), 1);
}

/// The switches: without names every execution is parsed, without a cache every preparation is.
#[tokio::test]
async fn the_switches_prepare_as_often_as_they_say() {
    let cluster = talkative().await;
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    with_table(&db).await;
    let mut uncached = one();
    uncached.statement_cache = 0;
    for (profile, name, parses) in [(unnamed(), "parse <unnamed>", 6), (uncached, "parse s", 5)] {
        let before = lines(&cluster, name, "update t set n");
        let pool = Pool::connect(url(&db.url()), profile).await.unwrap();
        let mut conn = pool.get().await.unwrap();
        for id in 1..=5 {
            assert_eq!(bump(&mut conn, id).await, Ok(1));
        }
        let seen = async || lines(&cluster, name, "update t set n") == before + parses;
        wait_until(&format!("{parses} times {name}"), SOON, seen).await;
    }
}

#[derive(QueryableByName, Debug, PartialEq)]
struct Row {
    #[diesel(sql_type = Integer)]
    id: i32,
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// Code that worked goes on working.
#[tokio::test]
async fn select_star_goes_on_working_across_add_column() {
    for profile in [one(), unnamed()] {
        let (db, pool) = prepared(profile).await;
        let mut conn = pool.get().await.unwrap();
        for column in ["a", "b", "c"] {
            let rows: Vec<Row> = diesel::sql_query("select * from t where id < 3 order by id")
                .load(&mut conn)
                .await
                .unwrap();
            assert_eq!(rows, [Row { id: 1, n: 0 }, Row { id: 2, n: 0 }]);
            db.sql(&format!("alter table t add column {column} int"))
                .await
                .unwrap();
        }
        assert_eq!(plumbing::observed(&conn).errors(), 0);
    }
}

/// A type that changed its meaning is an error once, and never a wrong number.
#[tokio::test]
async fn a_column_of_another_type_is_never_decoded_as_the_old_one() {
    for profile in [one(), unnamed()] {
        let (db, pool) = prepared(profile).await;
        let mut conn = pool.get().await.unwrap();
        let text = "select id, n from t where id = 1";
        let read = async |conn: &mut AsyncPgConnection| -> QueryResult<Vec<Row>> {
            diesel::sql_query(text).load(conn).await
        };
        assert_eq!(read(&mut conn).await, Ok(vec![Row { id: 1, n: 0 }]));
        db.sql("alter table t alter n type float8 using 1.0")
            .await
            .unwrap();
        let error = read(&mut conn).await.unwrap_err();
        let sent = plumbing::observed(&conn).last_error();
        assert_eq!(sent.unwrap().sqlstate().code(), "0A000", "{error}");
        db.sql("alter table t alter n type bigint using 2")
            .await
            .unwrap();
        assert_eq!(read(&mut conn).await, Ok(vec![Row { id: 1, n: 2 }]));
    }
}

mod schema {
    diesel::table! {
        own (id) {
            id -> Integer,
            name -> Text,
        }
    }
}

/// One text over two tenants, by diesel's cached statement and by an uncached one.
#[tokio::test]
async fn one_text_over_two_schemas_reads_the_right_rows() {
    for profile in [one(), unnamed()] {
        let (db, pool) = prepared(profile).await;
        for tenant in ["a", "b"] {
            db.sql(&format!(
                "create schema {tenant}; create table {tenant}.own (id int primary key, name text); \
                 insert into {tenant}.own values (1, '{tenant}'); \
                 grant usage on schema {tenant} to public; grant all on {tenant}.own to public"
            ))
            .await
            .unwrap();
        }
        let mut conn = pool.get().await.unwrap();
        let names = async |conn: &mut AsyncPgConnection| {
            let cached: String = schema::own::table
                .select(schema::own::name)
                .first(conn)
                .await
                .unwrap();
            let uncached: String = diesel::dsl::sql::<Text>("select name from own")
                .get_result(conn)
                .await
                .unwrap();
            assert_eq!(cached, uncached);
            cached
        };
        for tenant in ["a", "b", "a"] {
            let set = format!("set search_path to {tenant}");
            conn.batch_execute(&set).await.unwrap();
            assert_eq!(names(&mut conn).await, tenant);
        }
        for end in ["commit", "rollback"] {
            conn.batch_execute("begin").await.unwrap();
            conn.batch_execute("set local search_path to b")
                .await
                .unwrap();
            assert_eq!(names(&mut conn).await, "b");
            conn.batch_execute(end).await.unwrap();
            assert_eq!(names(&mut conn).await, "a");
        }
        conn.batch_execute("begin; savepoint s; set local search_path to b")
            .await
            .unwrap();
        assert_eq!(names(&mut conn).await, "b");
        conn.batch_execute("rollback to s").await.unwrap();
        assert_eq!(names(&mut conn).await, "a");
        conn.batch_execute("commit; begin; set local schema 'b'")
            .await
            .unwrap();
        assert_eq!(names(&mut conn).await, "b");
        conn.batch_execute("commit").await.unwrap();
        assert_eq!(names(&mut conn).await, "a");
        assert_eq!(plumbing::observed(&conn).errors(), 0);
    }
}

/// A temporary table hides another one of its name, although CREATE TABLE AS and SELECT INTO have no
/// tag of their own. Statements that were prepared before must not go on reading the other table.
#[tokio::test]
async fn a_temporary_table_hides_what_it_hides_elsewhere() {
    for make in [
        "create temp table t as select 1 as id, 7::bigint as n",
        "select 1 as id, 7::bigint as n into temp t",
    ] {
        let (_db, pool) = prepared(one()).await;
        let mut conn = pool.get().await.unwrap();
        assert_eq!(sum(&mut conn).await, Ok(0));
        conn.batch_execute(make).await.unwrap();
        assert_eq!(sum(&mut conn).await, Ok(7), "{make}");
    }
}

/// DISCARD ALL and DEALLOCATE take the names away; nobody notices.
#[tokio::test]
async fn names_that_are_lost_are_prepared_again() {
    let (_db, pool) = prepared(one()).await;
    let mut conn = pool.get().await.unwrap();
    for lose in [
        "discard all",
        "deallocate all",
        "do $$ begin execute 'deallocate all'; end $$",
    ] {
        assert_eq!(bump(&mut conn, 1).await, Ok(1));
        conn.batch_execute(lose).await.unwrap();
        assert_eq!(bump(&mut conn, 1).await, Ok(1), "{lose}");
        sum(&mut conn).await.unwrap();
    }
    assert_eq!(plumbing::observed(&conn).errors(), 0);
}

#[derive(SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(name = "mood"))]
struct MoodType;

#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = MoodType)]
enum Mood {
    Sad,
    Glad,
}

impl ToSql<MoodType, Pg> for Mood {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        use std::io::Write as _;
        out.write_all(match self {
            Self::Sad => b"sad",
            Self::Glad => b"glad",
        })?;
        Ok(IsNull::No)
    }
}

impl FromSql<MoodType, Pg> for Mood {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            b"sad" => Ok(Self::Sad),
            b"glad" => Ok(Self::Glad),
            other => Err(format!("{other:?}").into()),
        }
    }
}

/// A type of the user's own is looked up by statements of diesel-async and tokio-postgres themselves.
#[tokio::test]
async fn custom_types_are_looked_up_and_decoded() {
    for profile in [one(), unnamed()] {
        let (db, pool) = prepared(profile).await;
        db.sql("create type mood as enum ('sad', 'glad')")
            .await
            .unwrap();
        let mut conn = pool.get().await.unwrap();
        for mood in [Mood::Sad, Mood::Glad] {
            let echoed: Mood = diesel::select(mood.into_sql::<MoodType>())
                .get_result(&mut conn)
                .await
                .unwrap();
            assert_eq!(echoed, mood);
        }
    }
}

/// An error keeps its kind, its code and its place in the text, and the connection goes on.
#[tokio::test]
async fn errors_are_what_they_are_elsewhere() {
    let (_db, pool) = prepared(one()).await;
    let mut conn = pool.get().await.unwrap();
    for _ in 0..2 {
        let error = diesel::sql_query("insert into t values (1)")
            .execute(&mut conn)
            .await
            .unwrap_err();
        let QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, info) = error else {
            panic!("{error:?}");
        };
        assert_eq!(info.constraint_name(), Some("t_pkey"));
        let sent = plumbing::observed(&conn).last_error().unwrap();
        assert_eq!(sent.sqlstate().code(), "23505");
    }
    // After the first rows.
    let error = diesel::dsl::sql::<Integer>("select 1 / (3 - g) from generate_series(1, 5) g")
        .load::<i32>(&mut conn)
        .await
        .unwrap_err();
    let sent = plumbing::observed(&conn).last_error().unwrap();
    assert_eq!(sent.sqlstate().code(), "22012", "{error}");
    conn.batch_execute("begin").await.unwrap();
    let QueryError::DatabaseError(_, info) = conn.batch_execute("select selec").await.unwrap_err()
    else {
        panic!("no database error");
    };
    assert_eq!(info.statement_position(), Some(8));
    conn.batch_execute("rollback").await.unwrap();
    assert_eq!(sum(&mut conn).await, Ok(0));
}
