//! Test transactions: for the tests of a service, which leave nothing behind.

use std::sync::atomic::{AtomicU32, Ordering};

use app_db::{ConnectionExt, Error};
use diesel::QueryResult;
use diesel::result::Error as QueryError;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use harness::{TestDatabase, wait_until};

use crate::SOON;
use crate::transaction::{bump, n, prepared, value};

async fn total(db: &TestDatabase) -> i64 {
    db.scalar("select sum(n)::bigint from t").await.unwrap()
}

/// Stock diesel code runs in it, nested transactions and all, and the work's own value comes back.
#[tokio::test]
async fn a_test_transaction_shows_its_work_and_leaves_nothing() {
    let (db, database) = prepared().await;
    for _ in 0..2 {
        let seen: QueryResult<_> = database
            .test_transaction(async |conn| {
                conn.after_commit(|| panic!("nothing is committed"));
                bump(conn, 1).await?;
                conn.transaction(async |conn| bump(conn, 1).await).await?;
                let undone: QueryResult<()> = conn
                    .transaction(async |conn| {
                        bump(conn, 1).await?;
                        Err(QueryError::RollbackTransaction)
                    })
                    .await;
                undone.unwrap_err();
                n(conn, 1).await
            })
            .await;
        assert_eq!(seen, Ok(2));
        assert_eq!(total(&db).await, 0);
    }
    let status = &database.status()[0];
    assert_eq!(
        (
            status.in_use,
            status.connects.opened,
            status.closed.discarded
        ),
        (0, 1, 0)
    );
}

/// Two at once see neither each other nor what was not committed.
#[tokio::test]
async fn test_transactions_do_not_see_each_other() {
    let (_db, database) = prepared().await;
    let outer: Result<i64, Error> = database
        .test_transaction(async |conn| {
            bump(conn, 1).await?;
            let other: QueryResult<i64> = database
                .test_transaction(async |conn| n(conn, 1).await)
                .await;
            assert_eq!(other, Ok(0));
            Ok(n(conn, 1).await?)
        })
        .await;
    assert_eq!(outer.unwrap(), 1);
}

/// The work's error comes back as it is, a conflict too: a test runs once.
#[tokio::test]
async fn a_test_transaction_runs_once() {
    let (db, database) = prepared().await;
    let attempts = AtomicU32::new(0);
    let outcome: Result<(), Error> = database
        .test_transaction(async |conn| {
            attempts.fetch_add(1, Ordering::SeqCst);
            bump(conn, 1).await?;
            let raising = "do $$ begin raise exception 'no' using errcode = '40001'; end $$";
            Ok(conn.batch_execute(raising).await?)
        })
        .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Query(_)), "{error:?}");
    assert_eq!(error.sqlstate().unwrap().code(), "40001");
    assert_eq!((value(&attempts), total(&db).await), (1, 0));
}

/// A failure that a test provokes and expects does not fail the test.
#[tokio::test]
async fn a_provoked_failure_does_not_spoil_the_result() {
    let (db, database) = prepared().await;
    let outcome: Result<&str, Error> = database
        .test_transaction(async |conn| {
            bump(conn, 1).await?;
            conn.batch_execute("insert into t values (1, 1)")
                .await
                .unwrap_err();
            assert_eq!(conn.last_error().unwrap().sqlstate().code(), "23505");
            Ok("as expected")
        })
        .await;
    assert_eq!(outcome.unwrap(), "as expected");
    assert_eq!(total(&db).await, 0);
    assert_eq!(database.status()[0].closed.discarded, 0);
}

/// case R22: a work that commits by hand cannot be rolled back, and is told so.
#[tokio::test]
async fn a_commit_by_hand_is_reported() {
    let (_db, database) = prepared().await;
    let outcome: Result<(), Error> = database
        .test_transaction(async |conn| {
            bump(conn, 1).await?;
            Ok(conn.batch_execute("commit").await?)
        })
        .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Unfinished(_)), "{error:?}");
}

/// A failed assertion is a panic, and rolls back as well.
#[tokio::test]
async fn a_panic_rolls_back() {
    let (db, database) = prepared().await;
    let failing = {
        let database = database.clone();
        tokio::spawn(async move {
            let outcome: Result<(), Error> = database
                .test_transaction(async |conn| {
                    bump(conn, 1).await?;
                    panic!("an assertion of the test");
                })
                .await;
            outcome
        })
    };
    assert!(failing.await.unwrap_err().is_panic());
    wait_until("nothing is open any more", SOON, async || {
        let backends = db.backends("app-db").await.unwrap();
        backends.iter().all(|backend| backend.state == "idle")
    })
    .await;
    assert_eq!(total(&db).await, 0);
}
