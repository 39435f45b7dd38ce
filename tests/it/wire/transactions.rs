//! BEGIN with the first statement, COMMIT without waiting, and everything in between as usual.

use db_pool::plumbing;
use std::time::{Duration, Instant};

use app_db::{Database, Pool};
use diesel::QueryResult;
use diesel::result::Error as QueryError;
use diesel::sql_types::{BigInt, Integer};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::join4;
use harness::{Fault, Proxy, TestDatabase, wait_until};

use super::{bump, lines, one, prepared, sum, talkative, with_table};
use crate::SOON;
use crate::pool::url;
use crate::transaction::database;

async fn insert(conn: &mut AsyncPgConnection, id: i32) -> QueryResult<usize> {
    diesel::sql_query("insert into t values ($1)")
        .bind::<Integer, _>(id)
        .execute(conn)
        .await
}

/// Otherwise the second insert would run alone and stay.
#[tokio::test]
async fn after_a_begin_that_did_not_run_no_insert_stays() {
    let (db, pool) = prepared(one()).await;
    let mut conn = pool.get().await.unwrap();
    insert(&mut conn, 11).await.unwrap();
    conn.batch_execute("begin").await.unwrap();
    // PostgreSQL reads the whole text first, so that BEGIN has not run.
    conn.batch_execute("selec").await.unwrap_err();
    for id in 12..15 {
        insert(&mut conn, id).await.unwrap_err();
        let sent = plumbing::observed(&conn).last_error().unwrap();
        assert_eq!(sent.sqlstate().code(), "25P02");
        let text = format!("insert into t values ({id})");
        conn.batch_execute(&text).await.unwrap_err();
    }
    conn.batch_execute("commit").await.unwrap();
    assert_eq!(plumbing::observed(&conn).refused_commits(), 1);
    let count: i64 = db.scalar("select count(*) from t").await.unwrap();
    assert_eq!(count, 11);
    insert(&mut conn, 12).await.unwrap();
}

/// BEGIN READ WRITE fails on a standby, and the statement has its error.
#[tokio::test]
async fn a_begin_that_fails_is_its_statements_error() {
    let cluster = harness::Cluster::start(harness::ClusterOptions::default())
        .await
        .unwrap();
    let standby = cluster.replica("replica1").await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    with_table(&db).await;
    standby.caught_up_with(&cluster).await.unwrap();
    let there = harness::through_port(&db.url(), standby.port());
    let pool = Pool::connect(url(&there), one()).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    assert_eq!(sum(&mut conn).await, Ok(0));
    let failed = conn
        .build_transaction()
        .read_write()
        .run(async |conn| {
            sum(conn).await.unwrap_err();
            let again = sum(conn).await.unwrap_err();
            assert!(again.to_string().contains("aborted"), "{again}");
            Err::<(), _>(QueryError::RollbackTransaction)
        })
        .await;
    assert_eq!(failed, Err(QueryError::RollbackTransaction));
    assert_eq!(sum(&mut conn).await, Ok(0));
    drop(conn);
    assert_eq!((pool.status().idle, pool.status().closed.discarded), (1, 0));
}

/// Errors, savepoints and nested transactions end as they do elsewhere.
#[tokio::test]
async fn savepoints_and_errors_end_as_ever() {
    let (_db, pool) = prepared(one()).await;
    let mut conn = pool.get().await.unwrap();
    let outer: QueryResult<i64> = conn
        .transaction(async |conn| {
            let inner: QueryResult<()> = conn
                .transaction(async |conn| {
                    bump(conn, 1).await?;
                    insert(conn, 1).await.map(drop)
                })
                .await;
            assert!(matches!(inner, Err(QueryError::DatabaseError(..))));
            bump(conn, 2).await?;
            conn.transaction(async |conn| bump(conn, 3).await).await?;
            sum(conn).await
        })
        .await;
    assert_eq!(outer, Ok(2));
    let failed: QueryResult<()> = conn
        .transaction(async |conn| {
            bump(conn, 4).await?;
            insert(conn, 1).await.map(drop)
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(sum(&mut conn).await, Ok(2));
    conn.begin_test_transaction().await.unwrap();
    assert_eq!(bump(&mut conn, 5).await, Ok(1));
    drop(conn);
    let mut conn = pool.get().await.unwrap();
    assert_eq!(sum(&mut conn).await, Ok(2));
}

/// Bad input: statements pipelined through `&AsyncPgConnection` are answered in order, by the server
/// or by the wire.
#[tokio::test]
async fn pipelined_statements_are_answered_in_order() {
    let (_db, pool) = prepared(one()).await;
    let mut conn = pool.get().await.unwrap();
    sum(&mut conn).await.unwrap();
    for begins in [false, true, true] {
        if begins {
            conn.batch_execute("begin read only").await.unwrap();
        }
        let shared: &AsyncPgConnection = &conn;
        let number = |n: i64| async move {
            diesel::dsl::sql::<BigInt>("select ")
                .bind::<BigInt, _>(n)
                .get_result::<i64>(&mut &*shared)
                .await
        };
        let known = async {
            diesel::dsl::sql::<BigInt>("select sum(n)::bigint from t")
                .get_result::<i64>(&mut &*shared)
                .await
        };
        let answers = join4(number(1), known, number(2), number(3)).await;
        assert_eq!(answers, (Ok(1), Ok(0), Ok(2), Ok(3)));
        if begins {
            conn.batch_execute("commit").await.unwrap();
        }
    }
}

async fn read(database: &Database) {
    let read = database.read(async |conn| sum(conn).await).await;
    assert_eq!(read, Ok(0));
}

/// BEGIN goes with the statement and COMMIT is not waited for.
#[tokio::test]
async fn a_read_costs_one_round_trip_for_one_statement() {
    let db = TestDatabase::empty().await.unwrap();
    with_table(&db).await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&db.proxied_url(&proxy), &[]).await;
    read(&database).await;
    const ONE_WAY: Duration = Duration::from_millis(100);
    proxy.set(Fault::Delay(ONE_WAY)).await;
    // A busy machine slows some of them, not all; the first has no COMMIT before it.
    read(&database).await;
    let mut each = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        read(&database).await;
        each = each.min(began.elapsed());
    }
    // Half a round trip more, because the proxy delays one piece after the other: a statement stands
    // behind the COMMIT that went before it. To wait for that COMMIT would cost a whole one.
    assert!(each >= 2 * ONE_WAY && each < 7 * ONE_WAY / 2, "{each:?}");
    assert_eq!(database.status()[0].closed.discarded, 0);
}

/// BEGIN and COMMIT with nothing in between never reach the server; with `defer_begin` off they do.
#[tokio::test]
async fn an_empty_transaction_costs_nothing() {
    let cluster = talkative().await;
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    for (deferred, begins) in [(true, 0), (false, 1)] {
        let mut profile = one();
        profile.defer_begin = deferred;
        let pool = Pool::connect(url(&db.url()), profile).await.unwrap();
        let mut conn = pool.get().await.unwrap();
        let nothing: QueryResult<()> = conn.transaction(async |_conn| Ok(())).await;
        assert_eq!(nothing, Ok(()));
        conn.batch_execute("select 'after it'").await.unwrap();
        let seen = async || lines(&cluster, "statement", "after it") > 0;
        wait_until("the next statement in the log", SOON, seen).await;
        assert_eq!(lines(&cluster, "statement", "BEGIN"), begins);
        assert_eq!(lines(&cluster, "statement", "COMMIT"), begins);
    }
}
