//! Conflicts in nested transactions: over when they are rolled back, and tried again when they are passed on.

use std::sync::atomic::{AtomicU32, Ordering};

use diesel::result::Error as QueryError;
use diesel_async::AsyncConnection;

use super::*;
use crate::transaction::value;

#[derive(Debug, PartialEq, thiserror::Error)]
enum Own {
    #[error("the shop is closed")]
    Closed,
    #[error("database")]
    Database,
}

impl From<Error> for Own {
    fn from(_error: Error) -> Self {
        Self::Database
    }
}

impl From<QueryError> for Own {
    fn from(_error: QueryError) -> Self {
        Self::Database
    }
}

/// A conflict in a nested transaction, rolled back to its savepoint.
async fn conflict_in_savepoint(conn: &mut AsyncPgConnection, code: &str) {
    let nested: QueryResult<()> = conn.transaction(async |conn| raise(conn, code).await).await;
    nested.unwrap_err();
    assert_eq!(conn.last_error().unwrap().sqlstate().code(), code);
}

/// case R21, case R26: the work got over the conflict; what it returns then is its own business.
#[tokio::test]
async fn a_conflict_rolled_back_to_a_savepoint_is_over() {
    let (db, database) = prepared().await;
    for code in ["40P01", "40001"] {
        let attempts = AtomicU32::new(0);
        let outcome: Result<(), Own> = database
            .write(async |conn| {
                attempts.fetch_add(1, Ordering::SeqCst);
                conflict_in_savepoint(conn, code).await;
                Err(Own::Closed)
            })
            .await;
        assert_eq!((outcome, value(&attempts)), (Err(Own::Closed), 1));

        let outcome: QueryResult<()> = database
            .write(async |conn| {
                attempts.fetch_add(1, Ordering::SeqCst);
                conflict_in_savepoint(conn, code).await;
                bump(conn, 1).await?;
                raise(conn, "23505").await
            })
            .await;
        outcome.unwrap_err();
        assert_eq!(value(&attempts), 2, "a unique violation is no conflict");

        let outcome: QueryResult<usize> = database
            .write(async |conn| {
                attempts.fetch_add(1, Ordering::SeqCst);
                conflict_in_savepoint(conn, code).await;
                bump(conn, 1).await
            })
            .await;
        assert_eq!((outcome, value(&attempts)), (Ok(1), 3));
    }
    let n: i64 = db.scalar("select n from t where id = 1").await.unwrap();
    assert_eq!(n, 2);
}

/// case R26: a nested transaction passes its conflict on, and the outermost one is tried again.
#[tokio::test]
async fn a_conflict_passed_on_by_a_nested_transaction_is_tried_again() {
    let (db, database) = prepared().await;
    let (outer, inner) = (AtomicU32::new(0), AtomicU32::new(0));
    let outcome: QueryResult<usize> = database
        .write(async |conn| {
            outer.fetch_add(1, Ordering::SeqCst);
            bump(conn, 1).await?;
            conn.transaction(async |conn| {
                if inner.fetch_add(1, Ordering::SeqCst) == 0 {
                    raise(conn, "40P01").await?;
                }
                bump(conn, 2).await
            })
            .await
        })
        .await;
    assert_eq!(outcome, Ok(1));
    let ours = database
        .write(async |conn| {
            let nth = outer.fetch_add(1, Ordering::SeqCst);
            let nested = conn.transaction(async |conn| match nth {
                2 => raise(conn, "40001").await,
                _ => Ok(()),
            });
            nested.await.map_err(Error::from)
        })
        .await;
    ours.unwrap();
    let boxed: Result<(), Box<dyn std::error::Error + Send + Sync>> = database
        .write(async |conn| {
            let nth = outer.fetch_add(1, Ordering::SeqCst);
            let nested = conn.transaction(async |conn| match nth {
                4 => raise(conn, "40001").await,
                _ => Ok(()),
            });
            Ok(nested.await?)
        })
        .await;
    boxed.unwrap();
    assert_eq!((value(&outer), value(&inner)), (6, 2));
    let counts: String = db
        .scalar("select string_agg(n::text, ',' order by id) from t where id < 3")
        .await
        .unwrap();
    assert_eq!(counts, "1,1");
}

/// case R21: known from the wire, whatever the work's error type, also when the work swallowed the error.
#[tokio::test]
async fn an_unresolved_conflict_is_tried_again_whatever_the_work_returns() {
    let (_db, database) = prepared().await;
    for returned in [Ok(()), Err(Own::Closed)] {
        let attempts = AtomicU32::new(0);
        let outcome: Result<(), Own> = database
            .write(async |conn| match attempts.fetch_add(1, Ordering::SeqCst) {
                0 => {
                    let _ignored = raise(conn, "40P01").await;
                    // 25P02, which is not why the transaction failed.
                    bump(conn, 1).await.unwrap_err();
                    returned.as_ref().map_err(|_| Own::Closed).copied()
                }
                _ => Ok(()),
            })
            .await;
        assert_eq!((outcome, value(&attempts)), (Ok(()), 2));
    }
}

/// case R21, case R26: a nested transaction that swallows a conflict cannot be released, and says so with 25P02.
#[tokio::test]
async fn a_conflict_swallowed_by_a_nested_transaction_is_tried_again() {
    let (_db, database) = prepared().await;
    for (code, expected) in [("40001", 2), ("40P01", 2), ("23505", 1)] {
        let attempts = AtomicU32::new(0);
        let outcome: QueryResult<usize> = database
            .write(async |conn| {
                let nth = attempts.fetch_add(1, Ordering::SeqCst);
                conn.transaction(async |conn| {
                    conn.transaction(async |conn| {
                        if nth == 0 {
                            let _swallowed = raise(conn, code).await;
                        }
                        QueryResult::Ok(())
                    })
                    .await?;
                    bump(conn, 1).await
                })
                .await
            })
            .await;
        assert_eq!(value(&attempts), expected, "{code}: {outcome:?}");
        assert_eq!(outcome.is_ok(), expected == 2, "{code}: {outcome:?}");
    }
    // Who gets over it as well has nothing to do with it any more.
    let attempts = AtomicU32::new(0);
    let outcome: Result<(), Own> = database
        .write(async |conn| {
            attempts.fetch_add(1, Ordering::SeqCst);
            let nested = conn.transaction(async |conn| {
                let _swallowed = raise(conn, "40001").await;
                QueryResult::Ok(())
            });
            nested.await.unwrap_err();
            Err(Own::Closed)
        })
        .await;
    assert_eq!((outcome, value(&attempts)), (Err(Own::Closed), 1));
}
