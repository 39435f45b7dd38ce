//! Transactions that a timeout, a lost connection or a shutdown ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use app_db::{ConnectionExt, Error, Kind};
use diesel_async::RunQueryDsl;
use harness::{Fault, Proxy, wait_until};
use tokio::sync::Barrier;

use super::{bump, database, prepared, value};
use crate::SOON;
use crate::at_rest::watched;

/// case R28: the time given to a transaction bounds attempts and delays alike.
#[tokio::test]
async fn the_timeout_bounds_the_whole() {
    let (db, database) = prepared().await;
    let running = database
        .transaction()
        .timeout(Duration::from_millis(200))
        .run(async |conn| {
            bump(conn, 1).await?;
            Ok::<_, Error>(
                diesel::sql_query("select pg_sleep(60)")
                    .execute(conn)
                    .await?,
            )
        });
    let error = tokio::time::timeout(SOON, running)
        .await
        .expect("its statement takes a minute")
        .unwrap_err();
    assert!(
        matches!(error, Error::TimedOut { attempt: 1, .. }),
        "{error:?}"
    );
    wait_until("the server has stopped it", SOON, async || {
        db.backends("app-db")
            .await
            .unwrap()
            .iter()
            .all(|backend| backend.state != "active")
    })
    .await;
    let n: i64 = db.scalar("select n from t where id = 1").await.unwrap();
    assert_eq!(n, 0);
}

/// A COMMIT whose answer is lost is reported as unknown and never repeated.
#[tokio::test]
async fn a_lost_commit_is_unknown_and_not_repeated() {
    let (db, _direct) = prepared().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&db.proxied_url(&proxy), &[]).await;
    proxy.set(Fault::LoseReply(b"COMMIT")).await;
    let attempts = AtomicU32::new(0);
    let outcome = database
        .write(async |conn| {
            attempts.fetch_add(1, Ordering::SeqCst);
            conn.after_commit(|| panic!("nobody knows of a commit"));
            bump(conn, 1).await.map_err(Error::from)
        })
        .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::CommitUnknown(_)), "{error:?}");
    assert_eq!(error.kind(), Kind::OutcomeUnknown);
    assert_eq!(value(&attempts), 1);
    // In fact it was committed.
    let n: i64 = db.scalar("select n from t where id = 1").await.unwrap();
    assert_eq!(n, 1);
}

/// case R11; req 2.28: a shutdown lets work in flight finish and refuses new work at once.
#[tokio::test]
async fn shutdown_waits_for_work_and_refuses_more() {
    let (db, database) = prepared().await;
    let database = watched(&db, database);
    let started = Arc::new(Barrier::new(6));
    let tasks: Vec<_> = (1..=5)
        .map(|id| {
            let (database, started) = (database.clone(), Arc::clone(&started));
            tokio::spawn(async move {
                database
                    .write(async |conn| {
                        bump(conn, id).await?;
                        started.wait().await;
                        diesel::sql_query("select pg_sleep(0.3)")
                            .execute(conn)
                            .await
                    })
                    .await
            })
        })
        .collect();
    started.wait().await;
    let mut closing = Box::pin(database.shutdown(Duration::from_secs(5)));
    assert!(futures_util::poll!(&mut closing).is_pending());
    let refused = database.get().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::ShuttingDown);
    assert_eq!((&mut closing).await.abandoned, 0);
    drop(closing);
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let total: i64 = db.scalar("select sum(n)::bigint from t").await.unwrap();
    assert_eq!(total, 5);
    assert!(db.backends("app-db").await.unwrap().is_empty());
    database.rests().await;
}

/// case R11: after the grace, running statements are cancelled and counted.
#[tokio::test]
async fn shutdown_cancels_what_outlasts_the_grace() {
    let (db, database) = prepared().await;
    let database = watched(&db, database);
    let running = {
        let database = database.clone();
        tokio::spawn(async move {
            database
                .write(async |conn| diesel::sql_query("select pg_sleep(60)").execute(conn).await)
                .await
        })
    };
    wait_until("it runs", SOON, async || {
        db.backends("app-db")
            .await
            .unwrap()
            .iter()
            .any(|b| b.query.contains("pg_sleep") && b.state == "active")
    })
    .await;
    let closed = database.shutdown(Duration::from_millis(100)).await;
    assert_eq!(closed.abandoned, 1);
    running.await.unwrap().unwrap_err();
    wait_until("the server is left", SOON, async || {
        db.backends("app-db").await.unwrap().is_empty()
    })
    .await;
    database.rests().await;
}
