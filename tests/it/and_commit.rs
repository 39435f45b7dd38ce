//! `and_commit`: COMMIT travels with the last statement of the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use app_db::{ConnectionExt, Database, Error, Kind};
use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Fault, Proxy, TestDatabase, wait_until};

use crate::SOON;
use crate::at_rest::watched;
use crate::first_row::{Counted, way};
use crate::transaction::{bump, database, n, prepared, value};
use crate::transaction_pooler::Version;

async fn total(db: &TestDatabase) -> i64 {
    db.scalar("select sum(n)::bigint from t").await.unwrap()
}

/// Two updates in a transaction; COMMIT goes with the second.
async fn twice(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    bump(conn, 1).await?;
    bump(conn.and_commit(), 2).await
}

/// In `write`, in a plain transaction and behind both PgBouncers the work is committed, and the connection can be
/// used again.
#[tokio::test]
async fn the_work_is_committed_on_every_way() {
    let (db, direct) = prepared().await;
    let mut ways = vec![direct];
    let mut bouncers = Vec::new();
    for version in Version::ALL {
        if let Some(bouncer) = version.start(db.server()).await {
            ways.push(database(&db.pooled_url(&bouncer), &[]).await);
            bouncers.push(bouncer);
        }
    }
    let mut expected = 0;
    for database in ways {
        for _ in 0..3 {
            assert_eq!(database.write(twice).await, Ok(1));
            let mut conn = database.get().await.unwrap();
            let plain = conn.transaction(async |conn| twice(conn).await);
            assert_eq!(plain.await, Ok(1));
            let simple = conn.transaction(async |conn| {
                let text = "update t set n = n + 1 where id = 3 -- at last";
                conn.and_commit().batch_execute(text).await
            });
            assert_eq!(simple.await, Ok::<_, QueryError>(()));
            expected += 5;
            assert_eq!(total(&db).await, expected);
        }
        let status = &database.status()[0];
        assert_eq!((status.connects.opened, status.closed.discarded), (1, 0));
    }
}

/// Once its text is known, a write of one statement is one round trip; with three it is three.
#[tokio::test]
async fn a_write_of_one_statement_is_one_round_trip() {
    let (db, _) = prepared().await;
    let counted = Counted::start(db.server().port()).await;
    let database = database(&way(&db, counted.port), &[]).await;
    let one = async |conn: &mut AsyncPgConnection| bump(conn.and_commit(), 1).await;
    let three = async |conn: &mut AsyncPgConnection| {
        bump(conn, 1).await?;
        bump(conn, 2).await?;
        bump(conn.and_commit(), 3).await
    };
    assert_eq!(database.write(one).await, Ok(1));
    let before = counted.round_trips();
    assert_eq!(database.write(one).await, Ok(1));
    let after = counted.round_trips();
    assert_eq!(after.strip_prefix(&*before), Some("parse "));
    assert_eq!(database.write(three).await, Ok(1));
    let all = counted.round_trips();
    assert_eq!(all.strip_prefix(&*after), Some("parse bind bind "));
    assert_eq!(total(&db).await, 5);
}

/// A failed statement skips COMMIT; the work is rolled back.
#[tokio::test]
async fn a_statement_that_fails_commits_nothing() {
    let (db, database) = prepared().await;
    let database = watched(&db, database);
    let failed: QueryResult<usize> = database
        .write(async |conn| {
            bump(conn, 1).await?;
            diesel::sql_query("insert into t values (1)")
                .execute(conn.and_commit())
                .await
        })
        .await;
    let is_violation = |error: &QueryError| {
        matches!(
            error,
            QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)
        )
    };
    assert!(failed.as_ref().is_err_and(is_violation), "{failed:?}");
    assert_eq!(total(&db).await, 0);
    database.rests().await;
}

/// A deferred constraint is checked at COMMIT, and its failure is then the statement's error.
#[tokio::test]
async fn a_deferred_constraint_is_the_error_of_the_last_statement() {
    let (db, database) = prepared().await;
    db.sql(
        "create table u (id int primary key, t int references t deferrable initially deferred); \
         grant all on u to public",
    )
    .await
    .unwrap();
    let failed: Result<(), Error> = database
        .write(async |conn| {
            bump(conn, 1).await?;
            let last = diesel::sql_query("insert into u values (1, 99)").execute(conn.and_commit());
            let error = last.await.unwrap_err();
            let again = bump(conn, 1).await.unwrap_err();
            assert!(again.to_string().contains("aborted"), "{again}");
            Err(error.into())
        })
        .await;
    let error = failed.unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "23503");
    assert_eq!(total(&db).await, 0);
    assert_eq!(database.write(twice).await, Ok(1));
}

/// case R20: a conflict at COMMIT is retried, as when COMMIT travels alone.
#[tokio::test]
async fn a_conflict_at_the_early_commit_is_tried_again() {
    let (db, database) = prepared().await;
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let other = &database;
    let skewed = async move |conn: &mut AsyncPgConnection| {
        let attempt = counted.fetch_add(1, Ordering::SeqCst);
        let _read = n(conn, 2).await?;
        if attempt == 0 {
            // Each writes what the other has read.
            let concurrent = other.transaction().serializable();
            concurrent
                .run(async |conn| {
                    let _read = n(conn, 1).await?;
                    bump(conn, 2).await
                })
                .await?;
        }
        bump(conn.and_commit(), 1).await
    };
    let done: QueryResult<usize> = database.transaction().serializable().run(skewed).await;
    assert_eq!(done, Ok(1));
    assert_eq!(value(&attempts), 2);
    assert_eq!(total(&db).await, 2);
}

/// A later failure does not undo the commit, and the caller is told exactly that.
#[tokio::test]
async fn work_that_fails_afterwards_is_told_what_is_committed() {
    let (db, database) = prepared().await;
    let database = watched(&db, database);
    let fails: Result<(), Error> = database
        .write(async |conn| {
            bump(conn.and_commit(), 1).await?;
            Err(QueryError::NotFound.into())
        })
        .await;
    let error = fails.unwrap_err();
    assert!(matches!(error, Error::AfterCommit(_)), "{error:?}");
    assert_eq!(error.kind(), Kind::Committed);
    let source = std::error::Error::source(&error).unwrap();
    assert!(Error::find(source).is_some(), "{source:?}");

    // A further statement is refused, whether or not the work ignores the error.
    for ignores in [false, true] {
        let goes_on: Result<(), Error> = database
            .write(async |conn| {
                bump(conn.and_commit(), 1).await?;
                match bump(conn, 2).await {
                    Err(_refused) if ignores => Ok(()),
                    refused => Err(refused.unwrap_err().into()),
                }
            })
            .await;
        let error = goes_on.unwrap_err();
        assert_eq!(error.kind(), Kind::Committed, "{error:?}");
    }
    // The same holds through `QueryResult`.
    let by_query_result: QueryResult<()> = database
        .write(async |conn| {
            bump(conn.and_commit(), 1).await?;
            Err(QueryError::RollbackTransaction)
        })
        .await;
    let error = by_query_result.unwrap_err();
    assert_eq!(Error::find(&error).unwrap().kind(), Kind::Committed);
    assert_eq!(total(&db).await, 4);
    database.rests().await;
}

/// A plain transaction cannot be rolled back either.
#[tokio::test]
async fn a_plain_transaction_that_fails_afterwards_says_so() {
    let (db, database) = prepared().await;
    let mut conn = database.get().await.unwrap();
    let plain: QueryResult<()> = conn
        .transaction(async |conn| {
            bump(conn.and_commit(), 1).await?;
            Err(QueryError::NotFound)
        })
        .await;
    let error = plain.unwrap_err();
    assert!(error.to_string().contains("already committed"), "{error}");
    assert_eq!(conn.last_error().unwrap().sqlstate().code(), "2D000");
    assert_eq!(total(&db).await, 1);
}

/// The answer to the statement with COMMIT is lost, so the outcome is unknown.
#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_unknown() {
    let (db, _) = prepared().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&way(&db, proxy.port()), &[]).await;
    assert_eq!(database.write(twice).await, Ok(1));
    let lost: Result<usize, Error> = database
        .write(async |conn| {
            bump(conn, 1).await?;
            proxy.set(Fault::LoseReply(b"COMMIT")).await;
            Ok(bump(conn.and_commit(), 2).await?)
        })
        .await;
    let error = lost.unwrap_err();
    assert!(matches!(error, Error::CommitUnknown(_)), "{error:?}");
    assert_eq!(error.kind(), Kind::OutcomeUnknown);
    assert_eq!(total(&db).await, 4);
}

/// If a transaction has committed early, a later timeout does not report it as rolled back.
#[tokio::test]
async fn a_timeout_afterwards_is_told_as_committed() {
    let (db, database) = prepared().await;
    let late: Result<(), Error> = database
        .transaction()
        .timeout(Duration::from_millis(300))
        .run(async |conn| {
            bump(conn.and_commit(), 1).await?;
            std::future::pending().await
        })
        .await;
    let error = late.unwrap_err();
    assert_eq!(error.kind(), Kind::Committed, "{error:?}");
    assert_eq!(total(&db).await, 1);
}

/// `after_commit` runs even if the work fails afterwards, because the transaction is committed.
#[tokio::test]
async fn what_is_left_for_after_commit_runs() {
    let (_db, database) = prepared().await;
    let ran = Arc::new(AtomicU32::new(0));
    for fails in [false, true] {
        let counted = Arc::clone(&ran);
        let outcome: Result<(), Error> = database
            .write(async move |conn| {
                let counted = Arc::clone(&counted);
                conn.after_commit(move || {
                    counted.fetch_add(1, Ordering::SeqCst);
                });
                bump(conn.and_commit(), 1).await?;
                match fails {
                    true => Err(QueryError::NotFound.into()),
                    false => Ok(()),
                }
            })
            .await;
        assert_eq!(outcome.is_err(), fails);
    }
    assert_eq!(value(&ran), 2);
}

/// If the caller does not end the transaction itself, COMMIT does not travel with the statement.
#[tokio::test]
async fn it_means_nothing_where_commit_must_travel_alone() {
    let (db, database) = prepared().await;
    // In a transaction for tests, app-db's and diesel's.
    let tested: QueryResult<usize> = database.test_transaction(twice).await;
    assert_eq!(tested, Ok(1));
    let mut conn = database.get().await.unwrap();
    conn.begin_test_transaction().await.unwrap();
    assert_eq!(twice(&mut conn).await, Ok(1));
    let inner = conn.transaction(async |conn| twice(conn).await);
    assert_eq!(inner.await, Ok(1));
    drop(conn);
    assert_eq!(total(&db).await, 0);
    // In a savepoint, whose outer transaction goes on.
    let nested: QueryResult<()> = database
        .write(async |conn| {
            conn.transaction(async |conn| twice(conn).await).await?;
            bump(conn, 3).await?;
            Err(QueryError::RollbackTransaction)
        })
        .await;
    assert_eq!(nested, Err(QueryError::RollbackTransaction));
    assert_eq!(total(&db).await, 0);
    // With `resolve_commit`, which asks for the transaction's id before COMMIT.
    let resolved: QueryResult<usize> = database.transaction().resolve_commit().run(twice).await;
    assert_eq!(resolved, Ok(1));
    // Outside a transaction.
    let mut conn = database.get().await.unwrap();
    assert_eq!(bump(conn.and_commit(), 1).await, Ok(1));
    assert_eq!(total(&db).await, 3);
    // Without a statement after it, the call ends with the transaction.
    let nothing: QueryResult<()> = database
        .write(async |conn| {
            let _nothing = conn.and_commit();
            Ok(())
        })
        .await;
    assert_eq!(nothing, Ok(()));
    let undone: QueryResult<()> = database
        .write(async |conn| {
            bump(conn, 1).await?;
            Err(QueryError::RollbackTransaction)
        })
        .await;
    assert_eq!(undone, Err(QueryError::RollbackTransaction));
    assert_eq!(total(&db).await, 3);
}

/// The future is dropped between the statement and the end of the work: the commit stays, and the connection can be
/// used again.
#[tokio::test]
async fn dropped_afterwards_the_pool_is_at_rest() {
    let (db, database) = prepared().await;
    let database = watched(&db, database);
    {
        let database: &Database = &database;
        let working = database.write(async |conn| {
            bump(conn.and_commit(), 1).await?;
            std::future::pending::<QueryResult<()>>().await
        });
        let mut working = Box::pin(working);
        wait_until("the update is committed", SOON, async || {
            let waiting = tokio::time::timeout(Duration::from_millis(5), working.as_mut());
            assert!(waiting.await.is_err());
            total(&db).await == 1
        })
        .await;
    }
    assert_eq!(database.write(twice).await, Ok(1));
    assert_eq!(total(&db).await, 3);
    database.rests().await;
}
