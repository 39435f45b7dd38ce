//! Actions for after the commit run only after a commit.

use std::sync::{Arc, Mutex};

use app_db::{ConnectionExt, Error};
use diesel::QueryResult;
use diesel::result::Error as QueryError;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tokio::time::timeout;

use super::{MOMENT, bump, committed, counters, sleep};
use crate::database::Log;

/// Records which actions have run, in their order.
#[derive(Clone, Default)]
struct Ran(Arc<Mutex<Vec<&'static str>>>);

impl Ran {
    fn leave(&self, conn: &mut AsyncPgConnection, name: &'static str) {
        let ran = Arc::clone(&self.0);
        conn.after_commit(move || ran.lock().unwrap().push(name));
    }

    fn so_far(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// case R26: a nested transaction that rolls back takes only its own actions along.
#[tokio::test]
async fn a_savepoint_takes_its_own_actions_along() {
    let (db, database) = counters().await;
    let ran = Ran::default();
    let outcome: QueryResult<()> = database
        .write(async |conn| {
            ran.leave(conn, "before");
            conn.transaction(async |conn| {
                ran.leave(conn, "released");
                let inner: QueryResult<()> = conn
                    .transaction(async |conn| {
                        ran.leave(conn, "rolled back, inside");
                        Err(QueryError::RollbackTransaction)
                    })
                    .await;
                inner.unwrap_err();
                bump(conn, 1).await
            })
            .await?;
            let undone: QueryResult<()> = conn
                .transaction(async |conn| {
                    ran.leave(conn, "rolled back");
                    conn.transaction(async |conn| {
                        ran.leave(conn, "released in what is rolled back");
                        QueryResult::Ok(())
                    })
                    .await?;
                    Err(QueryError::RollbackTransaction)
                })
                .await;
            undone.unwrap_err();
            ran.leave(conn, "after");
            assert_eq!(ran.so_far(), [""; 0]);
            Ok(())
        })
        .await;
    outcome.unwrap();
    assert_eq!(ran.so_far(), ["before", "released", "after"]);
    assert_eq!(committed(&db).await, 1);
}

/// case R22: nothing runs if a success is refused, for any reason.
#[tokio::test]
async fn nothing_runs_when_a_success_is_refused() {
    let (_db, database) = counters().await;
    let ran = Ran::default();
    let rolled_back: Result<(), Error> = database
        .write(async |conn| {
            ran.leave(conn, "the work rolled back by hand");
            Ok(conn.batch_execute("rollback").await?)
        })
        .await;
    rolled_back.unwrap_err();
    let dropped: Result<(), Error> = database
        .write(async |conn| {
            ran.leave(conn, "a nested transaction was dropped");
            let nested = conn.transaction(async |conn| sleep(conn, 25.0).await);
            timeout(MOMENT, nested).await.unwrap_err();
            Ok(())
        })
        .await;
    dropped.unwrap_err();
    let swallowed: Result<(), Error> = database
        .write(async |conn| {
            ran.leave(conn, "a failure was swallowed");
            conn.batch_execute("select 1/0").await.unwrap_err();
            Ok(())
        })
        .await;
    swallowed.unwrap_err();
    database.write(bump_the_first).await.unwrap();
    assert_eq!(ran.so_far(), [""; 0]);
}

/// case R20: a conflict at COMMIT is retried, and only the actions of the attempt that commits run.
#[tokio::test]
async fn a_conflict_at_commit_runs_the_actions_of_the_attempt_that_commits() {
    let (db, database) = counters().await;
    db.sql(
        "create sequence attempt; grant all on attempt to public; \
         create function conflict_once() returns trigger language plpgsql as $$ begin \
             if nextval('attempt') = 1 then \
                 raise exception 'conflict' using errcode = '40001'; \
             end if; \
             return null; \
         end $$; \
         create constraint trigger conflict after update on t \
             deferrable initially deferred for each row execute function conflict_once()",
    )
    .await
    .unwrap();
    let ran = Ran::default();
    let outcome: QueryResult<usize> = database
        .write(async |conn| {
            ran.leave(conn, "an attempt");
            bump(conn, 1).await
        })
        .await;
    assert_eq!(outcome, Ok(1));
    assert_eq!(ran.so_far(), ["an attempt"]);
    assert_eq!(committed(&db).await, 1);
    let attempts: i64 = db.scalar("select last_value from attempt").await.unwrap();
    assert_eq!(attempts, 2);
}

/// Without a transaction there is nothing to wait for, as with Rails and Django.
#[tokio::test]
async fn an_action_outside_a_transaction_runs_at_once() {
    let (_db, database) = counters().await;
    let ran = Ran::default();
    let mut conn = database.get().await.unwrap();
    ran.leave(&mut conn, "before any statement");
    assert_eq!(ran.so_far(), ["before any statement"]);
    bump(&mut conn, 1).await.unwrap();
    ran.leave(&mut conn, "between statements");
    assert_eq!(ran.so_far(), ["before any statement", "between statements"]);
}

/// diesel's own transactions on a plain connection commit as well, and an action waits for the outermost one.
#[tokio::test]
async fn an_action_in_a_plain_transaction_waits_for_its_commit() {
    let (db, database) = counters().await;
    let ran = Ran::default();
    let mut conn = database.get().await.unwrap();
    let failed: QueryResult<()> = conn
        .transaction(async |conn| {
            ran.leave(conn, "rolled back");
            Err(QueryError::RollbackTransaction)
        })
        .await;
    failed.unwrap_err();
    let committing: QueryResult<()> = conn
        .transaction(async |conn| {
            ran.leave(conn, "before");
            conn.transaction(async |conn| {
                ran.leave(conn, "in a savepoint");
                bump(conn, 1).await
            })
            .await?;
            assert_eq!(ran.so_far(), [""; 0]);
            Ok(())
        })
        .await;
    committing.unwrap();
    assert_eq!(ran.so_far(), ["before", "in a savepoint"]);
    assert_eq!(committed(&db).await, 1);

    // The server answers ROLLBACK to the COMMIT of a failed transaction, and diesel treats that as a success.
    let swallowed: QueryResult<()> = conn
        .transaction(async |conn| {
            ran.leave(conn, "not committed");
            conn.batch_execute("select 1/0").await.unwrap_err();
            Ok(())
        })
        .await;
    drop(swallowed);
    conn.transaction(async |conn| bump(conn, 1).await)
        .await
        .unwrap();
    assert_eq!(ran.so_far(), ["before", "in a savepoint"]);
}

/// Nobody recognises the COMMIT of a transaction that was begun with SQL text: nothing runs, then or for the next
/// borrower, and a warning says so.
#[tokio::test]
async fn an_action_in_a_transaction_of_sql_text_is_dropped_with_a_warning() {
    let (db, database) = counters().await;
    let ran = Ran::default();
    let mut conn = database.get().await.unwrap();
    let (log, _capturing) = Log::capture();
    conn.batch_execute("begin").await.unwrap();
    ran.leave(&mut conn, "begun by hand");
    bump(&mut conn, 1).await.unwrap();
    conn.batch_execute("commit").await.unwrap();
    drop(conn);
    database.write(bump_the_first).await.unwrap();
    assert_eq!(ran.so_far(), [""; 0]);
    assert_eq!(committed(&db).await, 2);
    assert!(
        log.text().contains("begun with SQL text; dropped"),
        "{}",
        log.text()
    );
}

async fn bump_the_first(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    bump(conn, 1).await
}

/// A panic reaches the caller, and does not keep later actions from running.
#[tokio::test]
async fn an_action_that_panics_keeps_no_other_from_running() {
    let (db, database) = counters().await;
    let ran = Ran::default();
    let writing = {
        let (database, ran) = (database.clone(), ran.clone());
        tokio::spawn(async move {
            let work = async |conn: &mut AsyncPgConnection| {
                ran.leave(conn, "before");
                conn.after_commit(|| panic!("in an action"));
                ran.leave(conn, "after");
                bump(conn, 1).await
            };
            database.write(work).await
        })
    };
    assert!(writing.await.unwrap_err().is_panic());
    assert_eq!(ran.so_far(), ["before", "after"]);
    assert_eq!(committed(&db).await, 1);
    let status = &database.status()[0];
    assert_eq!((status.in_use, status.closed.discarded), (0, 0));
}
