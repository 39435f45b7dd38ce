//! Retries: what is run again, how often, and the error if retries did not help.

mod budget;
mod pools;
mod reads;
mod savepoints;

use std::time::Duration;

use app_db::{ConnectionExt, Error, Exhausted, InvalidOption, Kind, Stage};
use diesel::QueryResult;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use harness::TestDatabase;

use crate::transaction::{bump, database, n, prepared};

/// Raises an error of this code.
async fn raise(conn: &mut AsyncPgConnection, code: &str) -> QueryResult<()> {
    let raising = format!("do $$ begin raise exception 'no' using errcode = '{code}'; end $$");
    conn.batch_execute(&raising).await
}

/// A database in which `attempted()` counts the attempts that the server has seen, whatever becomes of them,
/// and then raises an error.
async fn counting(code: &str) -> TestDatabase {
    let db = TestDatabase::empty().await.unwrap();
    db.sql(&format!(
        "create sequence attempt; grant all on attempt to public; \
         create function attempted() returns void language plpgsql as $$ begin \
             perform nextval('attempt'); \
             raise exception 'attempt %', currval('attempt') using errcode = '{code}'; \
         end $$"
    ))
    .await
    .unwrap();
    db
}

async fn attempted(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    conn.batch_execute("select attempted()").await
}

/// How many attempts the server has seen.
async fn seen(db: &TestDatabase) -> i64 {
    let count = "select case when is_called then last_value else 0 end from attempt";
    db.scalar(count).await.unwrap()
}

/// case R20: write skew under SERIALIZABLE, with the built-in retry budget: all transactions succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_skew_is_tried_again_until_everybody_is_through() {
    const WORKERS: u32 = 8;
    const EACH: u32 = 200;
    const ATTEMPTS: u32 = 50;
    let (db, database) = prepared().await;
    db.sql("create sequence attempt; grant all on attempt to public")
        .await
        .unwrap();
    let workers = (0..WORKERS).map(|_| {
        let database = database.clone();
        tokio::spawn(async move {
            for _ in 0..EACH {
                database
                    .transaction()
                    .serializable()
                    .attempts(ATTEMPTS)
                    .run(async |conn| {
                        conn.batch_execute("select nextval('attempt')").await?;
                        // Each reads what the others write: one after the other, the two stay apart by
                        // one at most.
                        let (one, two) = (n(conn, 1).await?, n(conn, 2).await?);
                        Ok::<_, Error>(bump(conn, if one > two { 2 } else { 1 }).await?)
                    })
                    .await
                    .unwrap();
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let half = i64::from(WORKERS * EACH / 2);
    for id in [1, 2] {
        let sum: i64 = db
            .scalar(&format!("select n from t where id = {id}"))
            .await
            .unwrap();
        assert_eq!(sum, half, "as if they had run one after the other");
    }
    let seen = seen(&db).await;
    println!("{seen} attempts for {} transactions", WORKERS * EACH);
    assert!(seen > i64::from(WORKERS * EACH), "there was no conflict");
    assert!(seen <= i64::from(WORKERS * EACH * ATTEMPTS), "{seen}");
}
