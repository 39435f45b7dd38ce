//! A transaction whose future is dropped, at any await.

use std::future::poll_fn;
use std::task::Poll;

use crate::at_rest::watched;

use app_db::Error;
use harness::{TestDatabase, wait_until};

use super::{bump, committed, counters, sleep};

/// Asserts that nothing of it is left on the server.
async fn assert_nothing_runs(db: &TestDatabase) {
    wait_until("the server has rolled back", crate::SOON, async || {
        let backends = db.backends("app-db").await.unwrap();
        backends.iter().all(|backend| backend.state == "idle")
    })
    .await;
}

/// case F1, case R22: dropped after every number of polls, from the first to the last.
#[tokio::test(flavor = "current_thread")]
async fn a_dropped_transaction_leaves_nothing_behind() {
    let (db, database) = counters().await;
    let database = watched(&db, database);
    let mut expected = 0;
    for polls in 1.. {
        let mut running = Box::pin(database.transaction().serializable().run(async |conn| {
            bump(conn, 1).await?;
            sleep(conn, 0.01).await?;
            Ok::<_, Error>(bump(conn, 2).await?)
        }));
        let mut polled = 0;
        let done = poll_fn(|cx| {
            polled += 1;
            match running.as_mut().poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending if polled == polls => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        drop(running);
        assert_nothing_runs(&db).await;
        let sum = committed(&db).await;
        // A COMMIT that was on its way when its future was dropped takes effect completely.
        assert!(
            sum == expected || sum == expected + 2,
            "{sum} after {polls} polls"
        );
        if let Some(outcome) = done {
            assert_eq!(outcome.unwrap(), 1);
            assert_eq!(sum, expected + 2);
            assert!(polls > 4, "it was never dropped in its work");
            break;
        }
        expected = sum;
        let next: Result<usize, Error> =
            database.write(async |conn| Ok(bump(conn, 3).await?)).await;
        assert_eq!(next.unwrap(), 1, "the next borrower, after {polls} polls");
        expected += 1;
    }
    database.rests().await;
}

/// case R28: dropped while one of its statements runs on the server; the statement is cancelled.
#[tokio::test]
async fn a_dropped_transaction_cancels_its_statement() {
    let (db, database) = counters().await;
    let running = tokio::spawn({
        let database = database.clone();
        async move {
            database
                .write(async |conn| {
                    bump(conn, 1).await?;
                    Ok::<_, Error>(sleep(conn, 25.0).await?)
                })
                .await
        }
    });
    wait_until("it sleeps", crate::SOON, async || {
        let backends = db.backends("app-db").await.unwrap();
        backends
            .iter()
            .any(|backend| backend.state == "active" && backend.query.contains("pg_sleep"))
    })
    .await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_nothing_runs(&db).await;
    assert_eq!(committed(&db).await, 0);
}
