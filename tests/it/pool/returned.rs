//! What happens with a connection that comes back in another state than it was handed out.

use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::TestDatabase;
use tokio::time::timeout;

use super::{backend_pid, existing_code, pool_of};

/// case F1: a dropped statement is cancelled on the server, and its connection is never handed out
/// again.
#[tokio::test]
async fn a_cancelled_statement_costs_nobody_else_anything() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 1).await;
    let mut conn = pool.get().await.unwrap();
    let pid = backend_pid(&mut conn).await;
    let sleeping = diesel::sql_query("select pg_sleep(60)").execute(&mut conn);
    timeout(Duration::from_millis(100), sleeping)
        .await
        .unwrap_err();
    drop(conn);
    let began = Instant::now();
    let mut next = pool.get().await.unwrap();
    assert_ne!(backend_pid(&mut next).await, pid);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let running = db.backends("app-db").await.unwrap();
    assert!(
        running
            .iter()
            .all(|backend| !backend.query.contains("pg_sleep")),
        "{running:?}"
    );
    assert_eq!(pool.status().closed.discarded, 1);
    drop(next);
    pool.rests().await;
}

/// case F1 at its worst: the future is dropped before a byte of its query has left the process.
#[tokio::test(flavor = "current_thread")]
async fn a_query_dropped_before_it_was_sent_does_not_run_for_the_next_borrower() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create table t (x int)").await.unwrap();
    db.sql("grant all on t to public").await.unwrap();
    let pool = pool_of(&db, 1).await;
    let mut conn = pool.get().await.unwrap();
    {
        // Polled once: diesel has queued the statement, the driver's task has not run yet.
        let insert = conn.batch_execute("begin; insert into t values (1)");
        let mut insert = std::pin::pin!(insert);
        assert!(futures_util::poll!(&mut insert).is_pending());
    }
    drop(conn);
    let mut next = pool.get().await.unwrap();
    diesel::sql_query("insert into t values (2)")
        .execute(&mut next)
        .await
        .unwrap();
    drop(next);
    let seen: String = db
        .scalar("select string_agg(x::text, ',') from t")
        .await
        .unwrap();
    assert_eq!(seen, "2");
    assert_eq!(pool.status().closed.discarded, 1);
    pool.rests().await;
}

/// case F2, case F15, case R31: a BEGIN that diesel does not know of never reaches the next borrower.
#[tokio::test]
async fn a_transaction_left_open_is_rolled_back() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create table t (x int); grant all on t to public")
        .await
        .unwrap();
    let pool = pool_of(&db, 1).await;
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("BEGIN; insert into t values (1)")
        .await
        .unwrap();
    drop(conn);
    let mut next = pool.get().await.unwrap();
    diesel::sql_query("insert into t values (2)")
        .execute(&mut next)
        .await
        .unwrap();
    let seen: String = db
        .scalar("select string_agg(x::text, ',') from t")
        .await
        .unwrap();
    assert_eq!(seen, "2");
    assert_eq!(pool.status().closed.discarded, 1);
    drop(next);
    pool.rests().await;
}

/// case R13, req 0.22: a panic while a connection is held rolls back and gives the place free.
#[tokio::test]
async fn a_panic_in_a_transaction_rolls_back() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 1).await;
    let panicking = {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut conn = pool.get().await.unwrap();
            conn.transaction(async |conn| {
                diesel::sql_query("create table half_done (x int)")
                    .execute(conn)
                    .await?;
                assert!(
                    conn.batch_execute("select 1").await.is_err(),
                    "a panic on purpose"
                );
                QueryResult::Ok(())
            })
            .await
        })
    };
    assert!(panicking.await.unwrap_err().is_panic());
    let mut next = timeout(Duration::from_secs(1), pool.get())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(existing_code(&mut next, 1).await, Ok(1));
    let there: bool = db
        .scalar("select to_regclass('half_done') is not null")
        .await
        .unwrap();
    assert!(!there);
    drop(next);
    pool.rests().await;
}

/// A connection that a holder has swapped in cannot be kept: the pool's knowledge is about the original
/// one.
#[tokio::test]
async fn swapped_connections_are_not_kept() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 2).await;
    let mut one = pool.get().await.unwrap();
    let mut other = pool.get().await.unwrap();
    let pids = [backend_pid(&mut one).await, backend_pid(&mut other).await];
    std::mem::swap(&mut *one, &mut *other);
    one.batch_execute("begin").await.unwrap();
    drop((one, other));
    for _ in 0..2 {
        let mut next = pool.get().await.unwrap();
        assert!(!pids.contains(&backend_pid(&mut next).await));
        next.discard();
    }
    assert_eq!(pool.status().closed.dirty, 2);
    pool.rests().await;
}

/// The same with two pools: neither gets to the other's server. And with one that no pool has made.
#[tokio::test]
async fn a_connection_of_elsewhere_is_not_kept() {
    let (db, elsewhere) = tokio::join!(TestDatabase::empty(), TestDatabase::empty());
    let (db, elsewhere) = (db.unwrap(), elsewhere.unwrap());
    let pool = pool_of(&db, 1).await;
    let other_pool = pool_of(&elsewhere, 1).await;
    let mut conn = pool.get().await.unwrap();
    let mut other = other_pool.get().await.unwrap();
    std::mem::swap(&mut *conn, &mut *other);
    drop((conn, other));
    let foreign = AsyncPgConnection::establish(&elsewhere.url()).await;
    let mut conn = pool.get().await.unwrap();
    assert!(is_at(&mut conn, &db).await);
    assert!(is_at(&mut other_pool.get().await.unwrap(), &elsewhere).await);
    let taken = std::mem::replace(&mut *conn, foreign.unwrap());
    drop(conn);
    drop(taken);
    assert!(is_at(&mut pool.get().await.unwrap(), &db).await);
    assert_eq!(pool.status().closed.dirty, 2);
    pool.rests_with(other_pool).await;
}

async fn is_at(conn: &mut AsyncPgConnection, db: &TestDatabase) -> bool {
    let database: String = diesel::dsl::sql::<Text>("select current_database()::text")
        .get_result(conn)
        .await
        .unwrap();
    database == db.name()
}

/// If a holder replaces the pool's instrumentation with its own, its connection is closed when it comes
/// back.
#[tokio::test]
async fn a_connection_without_its_observer_is_not_kept() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 1).await;
    let mut conn = pool.get().await.unwrap();
    conn.set_instrumentation(|_: diesel::connection::InstrumentationEvent<'_>| {});
    drop(conn);
    assert_eq!(
        existing_code(&mut pool.get().await.unwrap(), 1).await,
        Ok(1)
    );
    assert_eq!(pool.status().closed.discarded, 1);
    pool.rests().await;
}

/// `first()` takes the first row of many. The rest of the answer does not cost the connection.
#[tokio::test]
async fn taking_only_the_first_row_keeps_the_connection() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 1).await;
    for _ in 0..20 {
        let mut conn = pool.get().await.unwrap();
        let first: String =
            diesel::dsl::sql::<Text>("select repeat('x', 9000) from generate_series(1, 50)")
                .get_result(&mut conn)
                .await
                .unwrap();
        assert_eq!(first.len(), 9000);
    }
    assert_eq!(
        (
            pool.status().connects.opened,
            pool.status().closed.discarded
        ),
        (1, 0)
    );
    pool.rests().await;
}
