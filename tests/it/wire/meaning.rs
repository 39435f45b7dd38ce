//! A statement means the same as with plain diesel-async, however often it is sent.

use app_db::Pool;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Integer, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Bouncer, TestDatabase};

use crate::pool::{sized, url};
use crate::transaction_pooler::Version;

#[derive(QueryableByName, Debug, PartialEq, Eq)]
struct T {
    #[diesel(sql_type = Text)]
    t: String,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Integer)]
    n: i32,
}

async fn text(conn: &mut AsyncPgConnection, sql: &str) -> QueryResult<String> {
    let row: T = diesel::sql_query(sql).get_result(conn).await?;
    Ok(row.t)
}

/// A pool of one connection by each way to the server, and what has to live as long.
async fn by_every_way(db: &TestDatabase) -> Vec<(String, Pool, Option<Bouncer>)> {
    let direct = Pool::connect(url(&db.url()), sized(1)).await.unwrap();
    let mut ways = vec![("direct".to_owned(), direct, None)];
    for version in Version::ALL {
        if let Some(bouncer) = version.start(db.server()).await {
            let pool = Pool::connect(url(&db.pooled_url(&bouncer)), sized(1)).await;
            ways.push((format!("{version:?}"), pool.unwrap(), Some(bouncer)));
        }
    }
    ways
}

/// The server does not revalidate a utility command: one that is kept would have its first columns for ever.
#[tokio::test]
async fn a_fetch_has_the_columns_of_the_cursor_that_is_open() {
    let db = TestDatabase::empty().await.unwrap();
    for (way, pool, _bouncer) in by_every_way(&db).await {
        let mut conn = pool.get().await.unwrap();
        let fetched = conn
            .transaction(async |conn| {
                conn.batch_execute("DECLARE cur CURSOR FOR SELECT 'first'::text t, 1 other")
                    .await?;
                let first = text(conn, "FETCH ALL FROM cur").await?;
                conn.batch_execute("CLOSE cur").await?;
                conn.batch_execute("DECLARE cur CURSOR FOR SELECT 2 other, 'second'::text t")
                    .await?;
                let second = text(conn, "FETCH ALL FROM cur").await?;
                conn.batch_execute("CLOSE cur; DECLARE cur CURSOR FOR SELECT 'third'::text t")
                    .await?;
                let third = text(conn, "FETCH ALL FROM cur").await?;
                // The cursor is gone; the server refuses, and lives.
                conn.batch_execute("CLOSE cur; SAVEPOINT s").await?;
                text(conn, "FETCH ALL FROM cur").await.unwrap_err();
                conn.batch_execute("ROLLBACK TO s").await?;
                QueryResult::Ok((first, second, third))
            })
            .await;
        let expected = ("first".into(), "second".into(), "third".into());
        assert_eq!(fetched.unwrap(), expected, "{way}");
    }
}

/// A string constant is read when the statement is parsed. No holder gets the value of another one.
#[tokio::test]
async fn a_constant_is_read_anew_under_the_settings_of_the_moment() {
    const MIDNIGHT: &str = "select (timestamptz '2025-01-01 00:00' at time zone 'UTC')::text as t";
    const NOW: &str = "select extract(epoch from 'now'::timestamptz)::text as t";
    const DATE: &str = "select to_char(date '1/2/2025', 'MM') as t";
    const ESCAPE: &str = r"select length('a\\b')::text as t";
    let db = TestDatabase::empty().await.unwrap();
    for (way, pool, _bouncer) in by_every_way(&db).await {
        let mut conn = pool.get().await.unwrap();
        for _ in 0..2 {
            let (midnight, month) = conn
                .transaction(async |conn| {
                    conn.batch_execute(
                        "SET LOCAL TIME ZONE 'Asia/Tokyo'; SET LOCAL DateStyle = 'ISO, DMY'",
                    )
                    .await?;
                    QueryResult::Ok((text(conn, MIDNIGHT).await?, text(conn, DATE).await?))
                })
                .await
                .unwrap();
            assert_eq!(
                (&*midnight, &*month),
                ("2024-12-31 15:00:00", "02"),
                "{way}"
            );
            drop(conn);
            // The next holder's zone is another.
            conn = pool.get().await.unwrap();
            let midnight = text(&mut conn, MIDNIGHT).await.unwrap();
            let month = text(&mut conn, DATE).await.unwrap();
            assert_eq!(
                (&*midnight, &*month),
                ("2025-01-01 00:00:00", "01"),
                "{way}"
            );
        }
        let first = text(&mut conn, NOW).await.unwrap();
        assert_ne!(text(&mut conn, NOW).await.unwrap(), first, "{way}");
        assert_eq!(text(&mut conn, ESCAPE).await.unwrap(), "4", "{way}");
        let plain = conn
            .transaction(async |conn| {
                conn.batch_execute("SET LOCAL standard_conforming_strings = off; SET LOCAL escape_string_warning = off")
                    .await?;
                text(conn, ESCAPE).await
            })
            .await;
        assert_eq!(plain.unwrap(), "3", "{way}");
        assert_eq!(text(&mut conn, ESCAPE).await.unwrap(), "4", "{way}");
    }
}

/// diesel's own cache keeps a constant prepared for the next holder.
#[tokio::test]
async fn a_constant_that_diesel_keeps_is_read_anew_by_the_next_holder() {
    const HOUR: &str =
        "select extract(hour from timestamptz '2025-01-01 00:00' at time zone 'UTC')::text";
    const NULLS: &str = "select count(*)::text from (values (null::int4), (1)) v(x) where x = null";
    let db = TestDatabase::empty().await.unwrap();
    for (way, pool, _bouncer) in by_every_way(&db).await {
        let mut conn = pool.get().await.unwrap();
        conn.transaction(async |conn| {
            let set = "SET LOCAL TIME ZONE 'Asia/Tokyo'; SET LOCAL transform_null_equals = on";
            conn.batch_execute(set).await?;
            assert_eq!(kept(conn, HOUR).await?, "15", "{way}");
            assert_eq!(kept(conn, NULLS).await?, "1", "{way}");
            QueryResult::Ok(())
        })
        .await
        .unwrap();
        for _ in 0..2 {
            drop(conn);
            conn = pool.get().await.unwrap();
            assert_eq!(kept(&mut conn, HOUR).await.unwrap(), "0", "{way}");
            assert_eq!(kept(&mut conn, NULLS).await.unwrap(), "0", "{way}");
        }
    }
}

/// A constant names an object by its number. The object is gone with the transaction that made it.
#[tokio::test]
async fn a_constant_that_diesel_keeps_names_no_object_that_is_gone() {
    const NAMED: &str = "select 'mine'::regproc::text";
    let db = TestDatabase::empty().await.unwrap();
    for (way, pool, _bouncer) in by_every_way(&db).await {
        let mut conn = pool.get().await.unwrap();
        let undone = conn.transaction(async |conn| {
            conn.batch_execute("create function mine() returns int return 1")
                .await?;
            assert_eq!(kept(conn, NAMED).await?, "mine", "{way}");
            QueryResult::<()>::Err(diesel::result::Error::RollbackTransaction)
        });
        undone.await.unwrap_err();
        drop(conn);
        let mut conn = pool.get().await.unwrap();
        let error = kept(&mut conn, NAMED).await.unwrap_err().to_string();
        assert!(error.contains("does not exist"), "{way}: {error}");
    }
}

/// Runs a text as the DSL runs its own: diesel keeps it prepared.
async fn kept(conn: &mut AsyncPgConnection, sql: &'static str) -> QueryResult<String> {
    Kept(sql).get_result(conn).await
}

struct Kept(&'static str);

/// It is found by its text.
impl QueryId for Kept {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Kept {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

impl Query for Kept {
    type SqlType = Text;
}

/// A pooler that keeps plans for its clients finds them by their text. The session that has changed an object must not
/// get the plan from before.
#[tokio::test]
async fn a_text_follows_the_objects_that_its_session_has_changed() {
    const SUM: &str = "select f(2)::text as t";
    const BOTH: &str = "select g()::text as t";
    let db = TestDatabase::empty().await.unwrap();
    for (way, pool, _bouncer) in by_every_way(&db).await {
        let mut conn = pool.get().await.unwrap();
        conn.batch_execute(
            "create function f(a int) returns int immutable language sql as 'select a + 1'; \
             create function g(a int default 1) returns int language sql as 'select a'",
        )
        .await
        .unwrap();
        for _ in 0..2 {
            assert_eq!(text(&mut conn, SUM).await.unwrap(), "3", "{way}");
            assert_eq!(text(&mut conn, BOTH).await.unwrap(), "1", "{way}");
        }
        conn.batch_execute(
            "create or replace function f(a int) returns int immutable language sql as 'select a + 2'; \
             create function g(a text default '') returns int language sql as 'select 2'",
        )
        .await
        .unwrap();
        assert_eq!(text(&mut conn, SUM).await.unwrap(), "4", "{way}");
        let error = text(&mut conn, BOTH).await.unwrap_err().to_string();
        assert!(error.contains("not unique"), "{way}: {error}");
        conn.batch_execute("drop function f(int); drop function g(int); drop function g(text)")
            .await
            .unwrap();
    }
}

/// A setting that parsing reads forgets what is kept, although the server revalidates nothing for it.
#[tokio::test]
async fn a_kept_statement_follows_the_settings_that_parsing_reads() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), sized(1)).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    let count = "select count(*)::int4 as n from (values (null::int4), (1)) v(x) where x = null";
    for (set, expected) in [("off", 0), ("on", 1), ("off", 0)] {
        conn.batch_execute(&format!("set transform_null_equals = {set}"))
            .await
            .unwrap();
        let row: Number = diesel::sql_query(count)
            .get_result(&mut conn)
            .await
            .unwrap();
        assert_eq!(row.n, expected, "{set}");
    }
}

/// A failed transaction ends with a simple query and with a prepared one, whether the server or the wire
/// made it fail.
#[tokio::test]
async fn a_failed_transaction_ends_however_its_end_is_sent() {
    let db = TestDatabase::empty().await.unwrap();
    for (way, pool, _bouncer) in by_every_way(&db).await {
        let mut conn = pool.get().await.unwrap();
        if way != "direct" {
            conn.batch_execute("BEGIN").await.unwrap();
            conn.batch_execute("select 1").await.unwrap();
            conn.batch_execute("LISTEN a").await.unwrap_err();
            let refused = text(&mut conn, "select 'x'::text as t").await;
            assert!(refused.is_err(), "{way}");
            diesel::sql_query("ROLLBACK")
                .execute(&mut conn)
                .await
                .unwrap();
            assert_eq!(text(&mut conn, "select 'x'::text as t").await.unwrap(), "x");
        }
        conn.batch_execute("BEGIN").await.unwrap();
        conn.batch_execute("select 1/0").await.unwrap_err();
        diesel::sql_query("ROLLBACK")
            .execute(&mut conn)
            .await
            .unwrap();
        assert_eq!(text(&mut conn, "select 'x'::text as t").await.unwrap(), "x");
    }
}
