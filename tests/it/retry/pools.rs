//! Transactions on pools of their own: with retries, and with a budget of their own.

use super::*;

const BATCH: [(&str, &str); 1] = [("APP_DB__POOLS__BATCH__MAX", "2")];

/// req 4.22, req 4.23: a tranche on the pool for batches is tried again like any other transaction.
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
    assert!(database.transaction_on("bach").is_none());
}

/// case R24: what a batch cannot get through costs the requests beside it no retries.
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
