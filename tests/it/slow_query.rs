//! The slow-query log: what is logged, about which statements, and how much.

mod bound_values;
mod copying;
mod hostile;

use std::time::Duration;

use app_db::{Database, Pool, PoolProfile};
use diesel::QueryResult;
use diesel::sql_types::{Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::StreamExt;
use harness::{TestDatabase, wait_until};

use crate::SOON;
use crate::captured::{Captured, Entry};
use crate::pool::{sized, url};
use crate::transaction::database;

fn slow(captured: &Captured) -> Vec<Entry> {
    captured.events("app_db::slow_query")
}

/// A profile in which every statement is slow.
fn everything_is_slow(max: u32) -> PoolProfile {
    let mut profile = sized(max);
    profile.slow_query = Some(Duration::ZERO);
    profile
}

async fn pool(db: &TestDatabase, profile: PoolProfile) -> Pool {
    Pool::connect(url(&db.url()), profile).await.unwrap()
}

async fn connect(db: &TestDatabase, threshold: &str) -> Database {
    database(&db.url(), &[("APP_DB__SLOW_QUERY__THRESHOLD", threshold)]).await
}

async fn nap(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    diesel::sql_query("select pg_sleep(0.06), $1")
        .bind::<Text, _>("canary")
        .execute(conn)
        .await
}

/// case R63, req 2.08, req 2.09: the time of a statement is split into before its first row and after it, as the
/// wire saw it: diesel has its first row long before the last.
#[tokio::test]
async fn executing_and_streaming_are_told_apart() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let db_ = connect(&db, "100ms").await;
    let mut conn = db_.get().await.unwrap();
    // Sleeps before the first row, and then some milliseconds for each of a hundred rows of a kilobyte.
    let rows = diesel::dsl::sql::<Text>(
        "select case when g > 0 then pg_sleep(0.004)::text || repeat('x', 1000) \
         else pg_sleep(0.2)::text end from generate_series(0, 100) g",
    );
    let mut stream = rows.load_stream::<String>(&mut conn).await.unwrap();
    while let Some(row) = stream.next().await {
        row.unwrap();
    }
    drop(stream);
    let slow = slow(&captured);
    let [slow] = slow.as_slice() else {
        panic!("{slow:?}")
    };
    assert!(
        (200..700).contains(&slow.number("first_row_ms")),
        "{slow:?}"
    );
    assert!(slow.number("streaming_ms") >= 150, "{slow:?}");
    assert!(
        slow.number("duration_ms") >= slow.number("first_row_ms") + slow.number("streaming_ms"),
        "{slow:?}"
    );
    assert_eq!(slow.number("rows"), 101);
    assert_eq!(slow.get("in_transaction"), Some("false"));
    assert_eq!(slow.get("sqlstate"), None);
}

/// case R63, req 2.10: waiting for the pool is distinguished from a slow statement, with the source line and the
/// attempt.
#[tokio::test]
async fn waiting_for_the_pool_is_no_execution() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let more = [
        ("APP_DB__PROFILE__MAX", "1"),
        ("APP_DB__PROFILE__MIN_IDLE", "0"),
        ("APP_DB__SLOW_QUERY__THRESHOLD", "50ms"),
    ];
    let database = database(&db.url(), &more).await;
    let mut held = database.get().await.unwrap();
    let waiter = async {
        let work = database.transaction().label("nightly").run(nap);
        work.await
    };
    let holder = async {
        wait_until("somebody waits", SOON, async || {
            database.status()[0].waiting == 1
        })
        .await;
        let holding = diesel::sql_query("select pg_sleep(0.3) as held");
        holding.execute(&mut held).await.unwrap();
        drop(held);
    };
    let (slept, ()): (QueryResult<usize>, ()) = tokio::join!(waiter, holder);
    slept.unwrap();
    let slow = slow(&captured);
    let [holding, slow] = slow.as_slice() else {
        panic!("{slow:?}")
    };
    assert!(holding.number("waited_ms") < 300 && holding.get("label").is_none());
    assert!(slow.number("waited_ms") >= 300, "{slow:?}");
    assert!((60..300).contains(&slow.number("duration_ms")), "{slow:?}");
    assert_eq!(slow.get("label"), Some("nightly"));
    assert!(slow.get("caller").unwrap().contains("slow_query.rs"));
    assert_eq!(slow.number("attempt"), 1);
    assert_eq!(slow.get("in_transaction"), Some("true"));
    assert_eq!(slow.get("pool"), Some("write"));
    assert_eq!(slow.get("sql"), Some("select pg_sleep(?), ?"));
    assert!(!captured.mentions("canary"));
}

/// case R63: a statement that fails late has its SQLSTATE, one that was never prepared too, and so has a
/// COMMIT and one whose connection ended.
#[tokio::test]
async fn what_fails_is_logged_with_its_code() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    db.sql(
        "create table t (id int unique deferrable initially deferred); grant all on t to public",
    )
    .await
    .unwrap();
    let pool = pool(&db, everything_is_slow(1)).await;
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("set statement_timeout = '50ms'")
        .await
        .unwrap();
    nap(&mut conn).await.unwrap_err();
    conn.batch_execute("select nobody from nowhere")
        .await
        .unwrap_err();
    diesel::sql_query("select nothing")
        .execute(&mut conn)
        .await
        .unwrap_err();
    conn.batch_execute("begin").await.unwrap();
    conn.batch_execute("insert into t values (1), (1)")
        .await
        .unwrap();
    conn.batch_execute("commit").await.unwrap_err();
    let died = diesel::sql_query("select pg_terminate_backend(pg_backend_pid())");
    died.execute(&mut conn).await.unwrap_err();
    drop(conn);
    wait_until("its end is told", SOON, async || {
        slow(&captured)
            .iter()
            .any(|slow| slow.get("sqlstate") == Some("57P01"))
    })
    .await;
    let told: Vec<_> = slow(&captured)
        .iter()
        .map(|slow| {
            let field = |name| slow.get(name).unwrap_or("-").to_owned();
            [field("sql"), field("sqlstate"), field("in_transaction")].join(" | ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "set statement_timeout = ? | - | false",
            "select pg_sleep(?), ? | 57014 | false",
            "select nobody from nowhere | 42P01 | false",
            "select nothing | 42703 | false",
            "insert into t values (?) | - | true",
            "commit | 23505 | true",
            "select pg_terminate_backend(pg_backend_pid()) | 57P01 | false",
        ]
    );
}

/// case R63: a query whose future was dropped is logged when its connection has ended, with the right holder.
#[tokio::test]
async fn an_abandoned_statement_is_logged() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let database = connect(&db, "50ms").await;
    let abandoned = database
        .transaction()
        .label("abandoned")
        .run_once(async |conn| diesel::sql_query("select pg_sleep(30)").execute(conn).await);
    let outcome: Result<QueryResult<usize>, _> =
        tokio::time::timeout(Duration::from_millis(200), abandoned).await;
    assert!(outcome.is_err());
    wait_until("it is told", SOON, async || !slow(&captured).is_empty()).await;
    let slow = &slow(&captured)[0];
    assert_eq!(slow.get("sql"), Some("select pg_sleep(?)"));
    assert_eq!(slow.get("label"), Some("abandoned"));
    assert!(
        matches!(slow.get("sqlstate"), Some("08006" | "57014")),
        "{slow:?}"
    );
    assert_eq!(database.status()[0].slow_queries, 1);
}

/// case R63: a fingerprint that is slow all the time is logged a few times, and says later how often it was.
#[tokio::test]
async fn a_fingerprint_does_not_fill_the_log() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool(&db, everything_is_slow(1)).await;
    let mut conn = pool.get().await.unwrap();
    for n in 0..200 {
        conn.batch_execute(&format!("select {n}")).await.unwrap();
    }
    conn.batch_execute("select 1 as another").await.unwrap();
    let slow = slow(&captured);
    let of = |sql: &str| {
        slow.iter()
            .filter(|slow| slow.get("sql") == Some(sql))
            .count()
    };
    assert_eq!((of("select ?"), of("select ? as another")), (5, 1));
    assert_eq!(pool.status().slow_queries, 201);
}

/// Every way of sending a statement is seen: without the cache of statements, and unnamed.
#[tokio::test]
async fn nothing_runs_unseen() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let (mut uncached, mut unnamed) = (everything_is_slow(1), everything_is_slow(1));
    uncached.statement_cache = 0;
    unnamed.statements = db_pool::Statements::Unnamed;
    for (nth, profile) in [uncached, unnamed].into_iter().enumerate() {
        let pool = pool(&db, profile).await;
        let mut conn = pool.get().await.unwrap();
        for _ in 0..2 {
            let asked = diesel::sql_query("select $1 as n").bind::<Integer, _>(7);
            asked.execute(&mut conn).await.unwrap();
        }
        let slow = slow(&captured);
        let of = |slow: &&Entry| slow.get("sql") == Some("select ? as n");
        assert_eq!(slow.iter().filter(of).count(), 2 * (nth + 1), "{slow:?}");
    }
}

/// A pool has its own threshold if one is set, and otherwise the common one.
#[tokio::test]
async fn a_pool_has_its_own_threshold() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let more = [
        ("APP_DB__SLOW_QUERY__THRESHOLD", "1h"),
        ("APP_DB__POOLS__BATCH__SLOW_QUERY_THRESHOLD", "50ms"),
    ];
    let database = database(&db.url(), &more).await;
    for name in ["write", "batch"] {
        let pool = database.pool(name).unwrap();
        nap(&mut pool.get().await.unwrap()).await.unwrap();
    }
    let slow = slow(&captured);
    assert_eq!(slow.len(), 1, "{slow:?}");
    assert_eq!(slow[0].get("pool"), Some("batch"));
}
