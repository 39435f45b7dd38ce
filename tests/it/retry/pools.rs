//! Transactions on pools of their own: with retries, and with a budget of their own.

use diesel_async::RunQueryDsl;

use super::*;

const BATCH: [(&str, &str); 1] = [("APP_DB__POOLS__BATCH__MAX", "2")];

/// A chunk on the pool for batches is retried like any other transaction.
#[tokio::test]
async fn a_transaction_on_a_further_pool_is_tried_again_there() {
    let db = counting("40001").await;
    let database = database(&db.url(), &BATCH).await;
    let outcome: Result<(), Error> = database
        .transaction_on("batch")
        .unwrap()
        .run(async |conn| {
            let held = |pool: &str| database.pool(pool).unwrap().status().in_use;
            assert_eq!((held("batch"), held("write")), (1, 0));
            Ok(attempted(conn).await?)
        })
        .await;
    assert!(matches!(outcome, Err(Error::Conflict { attempts: 3, .. })));
    assert_eq!(seen(&db).await, 3);
    let error = database.transaction_on("bach").unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
    assert_eq!(
        error.to_string(),
        "there is no pool `bach`; the configuration has `write`, `read`, `batch`; \
         another one needs a table [database.pools.bach]"
    );
}

/// case R24: conflicts of a batch do not use up the retries of requests on another pool.
#[tokio::test]
async fn each_pool_has_a_budget_of_its_own() {
    let db = counting("40001").await;
    let database = database(&db.url(), &BATCH).await;
    for _ in 0..100 {
        let outcome: Result<(), Error> = database
            .transaction_on("batch")
            .unwrap()
            .run(async |conn| Ok(attempted(conn).await?))
            .await;
        assert_eq!(outcome.unwrap_err().kind(), Kind::Conflict);
    }
    assert_eq!(seen(&db).await, 120, "a fifth more");
    let outcome: Result<(), Error> = database
        .write(async |conn| Ok(attempted(conn).await?))
        .await;
    assert!(matches!(outcome, Err(Error::Conflict { attempts: 3, .. })));
}

/// req 4.22, req 4.23: a batch is cut into chunks, and each chunk commits by itself, in a bounded pool.
#[tokio::test]
async fn a_batch_commits_chunk_by_chunk() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql(
        "create table sessions (id int primary key); grant all on sessions to public; \
         insert into sessions select generate_series(1, 25)",
    )
    .await
    .unwrap();
    let database = database(&db.url(), &BATCH).await;
    let mut left = Vec::new();
    loop {
        let chunk = database.transaction_on("batch").unwrap();
        let deleted = chunk
            .run(async |conn| {
                let deleting = "delete from sessions where id in \
                    (select id from sessions order by id limit 10 for update skip locked)";
                Ok::<_, Error>(diesel::sql_query(deleting).execute(conn).await?)
            })
            .await
            .unwrap();
        // Another session sees what has been committed so far.
        let count = "select count(*) from sessions";
        left.push(db.scalar::<i64>(count).await.unwrap());
        if deleted == 0 {
            break;
        }
    }
    assert_eq!(left, [15, 5, 0, 0]);
    assert_eq!(database.pool("batch").unwrap().status().max, 2);
}
