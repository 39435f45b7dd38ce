//! COPY in the slow-query log: what is executing, and what is streaming.

use app_db::Pool;
use diesel_async::SimpleAsyncConnection;
use harness::TestDatabase;

use super::{everything_is_slow, pool, slow};
use crate::captured::{Captured, Entry};

async fn begun() -> (
    Captured,
    tracing::subscriber::DefaultGuard,
    TestDatabase,
    Pool,
) {
    let (captured, guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool(&db, everything_is_slow(1)).await;
    (captured, guard, db, pool)
}

/// The event of the COPY that a pool's connection ran before something else: diesel-async does not take its rows,
/// which the wire sees pass all the same.
async fn copied(captured: &Captured, pool: &Pool, copy: &str) -> Entry {
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute(copy).await.unwrap_err();
    conn.batch_execute("select 1 as next").await.unwrap();
    let is_copy = |slow: &&Entry| slow.get("sql").unwrap().starts_with("copy");
    let slow = slow(captured);
    let copies: Vec<_> = slow.iter().filter(is_copy).collect();
    assert_eq!(copies.len(), 1, "{slow:?}");
    copies[0].clone()
}

/// case R63, req 2.09: what happens before the first row of a COPY TO is executing.
#[tokio::test]
async fn a_copy_that_is_slow_to_begin_is_executing() {
    let (captured, _guard, _db, pool) = begun().await;
    let sleeping = "copy (select pg_sleep(0.3), g from generate_series(1, 1) g union all \
                    select null, g from generate_series(1, 6) g) to stdout";
    let slow = copied(&captured, &pool, sleeping).await;
    assert!(slow.number("first_row_ms") >= 250, "{slow:?}");
    assert!(slow.number("streaming_ms") < 200, "{slow:?}");
    assert_eq!(slow.number("rows"), 7);
    assert_eq!(slow.get("sqlstate"), None);
}

/// case R63, req 2.09: what happens between its rows is streaming. The server sends rows as its buffer of 8 kB
/// is full.
#[tokio::test]
async fn a_copy_that_is_slow_between_its_rows_is_streaming() {
    let (captured, _guard, _db, pool) = begun().await;
    let sleeping = "copy (select repeat('x', 10000), case when g > 1 then pg_sleep(0.05) end \
                    from generate_series(1, 7) g) to stdout";
    let slow = copied(&captured, &pool, sleeping).await;
    assert!(slow.number("streaming_ms") >= 250, "{slow:?}");
    assert!(slow.number("first_row_ms") < 200, "{slow:?}");
    assert_eq!(slow.number("rows"), 7);
}

/// case R63, req 2.09: COPY FROM is executing until the server is ready for rows, as it is not before it has its
/// lock, and streaming from then on; here until its client goes on without sending any.
#[tokio::test]
async fn a_copy_from_waits_for_its_lock_and_then_for_rows() {
    let (captured, _guard, db, pool) = begun().await;
    db.sql("create table t (id int); grant all on t to public")
        .await
        .unwrap();
    let locked = db.sql("begin; lock table t; select pg_sleep(0.5); commit");
    let copying = async {
        let waits = "select count(*) from pg_locks where relation = 't'::regclass and granted";
        harness::wait_until("the table is locked", crate::SOON, async || {
            db.scalar::<i64>(waits).await.unwrap() > 0
        })
        .await;
        let mut conn = pool.get().await.unwrap();
        conn.batch_execute("copy t from stdin").await.unwrap_err();
        db.sql("select pg_sleep(0.3)").await.unwrap();
        conn.batch_execute("select 1 as next").await.unwrap();
    };
    let (locked, ()) = tokio::join!(locked, copying);
    locked.unwrap();
    let slow = slow(&captured);
    let is_copy = |slow: &&Entry| slow.get("sql") == Some("copy t from stdin");
    let slow = slow.iter().find(is_copy).unwrap();
    assert!(slow.number("first_row_ms") >= 100, "{slow:?}");
    assert!(slow.number("streaming_ms") >= 250, "{slow:?}");
    assert_eq!(slow.get("sqlstate"), Some("57014"));
}
