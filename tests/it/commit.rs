//! Only committed work is reported as a success.

mod after_commit;
mod autocommit;
mod crash;
mod dropped;
mod failover;
pub(crate) mod interrupted;
mod resolved;

use std::time::{Duration, Instant};

use app_db::{Error, Kind};
use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel::sql_types::Text;
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};
use harness::TestDatabase;
use tokio::time::timeout;

use crate::at_rest::watched;
use crate::transaction::{bump, prepared as counters};

/// The committed sum of all counters.
async fn committed(db: &TestDatabase) -> i64 {
    db.scalar("select sum(n)::bigint from t").await.unwrap()
}

/// How long the work in these tests waits for a statement before it gives up.
const MOMENT: Duration = Duration::from_millis(50);

/// A statement that waits until the test lets it go on.
const WAITS: &str = "select pg_advisory_xact_lock(22)";

/// A session of the test that holds the lock for which `WAITS` waits.
async fn holding(db: &TestDatabase) -> tokio_postgres::Client {
    let holder = db.admin().await.unwrap();
    holder.batch_execute("begin").await.unwrap();
    holder.batch_execute(WAITS).await.unwrap();
    holder
}

/// case R22: diesel would answer the COMMIT of such work with RELEASE SAVEPOINT, and report a
/// success.
#[tokio::test]
async fn a_nested_transaction_dropped_by_a_timeout_is_no_success() {
    let (db, database) = counters().await;
    for goes_on in [false, true] {
        let holder = &holding(&db).await;
        let outcome = database
            .write(async |conn| {
                bump(conn, 1).await?;
                let nested = conn.transaction(async |conn| conn.batch_execute(WAITS).await);
                timeout(MOMENT, nested).await.unwrap_err();
                if goes_on {
                    // It succeeds after the wait, in the nested transaction that nobody ends.
                    holder.batch_execute("rollback").await.unwrap();
                    bump(conn, 2).await?;
                }
                Ok(())
            })
            .await;
        assert_unfinished(outcome);
        assert_eq!(committed(&db).await, 0, "goes_on {goes_on}");
    }
}

/// case R22, case R31: the same if the work itself has begun the savepoint.
#[tokio::test]
async fn a_savepoint_left_open_is_no_success() {
    let (db, database) = counters().await;
    let database = watched(&db, database);
    let outcome = database
        .write(async |conn| {
            bump(conn, 1).await?;
            Ok(AnsiTransactionManager::begin_transaction(conn).await?)
        })
        .await;
    assert_unfinished(outcome);
    assert_eq!(committed(&db).await, 0);
    database.rests().await;
}

/// case R22: a statement that the work has given up fails after the work has reported its success.
#[tokio::test]
async fn a_statement_given_up_that_fails_later_is_no_success() {
    let (db, database) = counters().await;
    let holder = holding(&db).await;
    let failing = "do $$ begin perform pg_advisory_xact_lock(22); raise exception 'late'; end $$";
    let outcome = database
        .write(async |conn| {
            bump(conn, 1).await?;
            let failing = conn.batch_execute(failing);
            timeout(MOMENT, failing).await.unwrap_err();
            Ok(())
        })
        .await;
    holder.batch_execute("rollback").await.unwrap();
    assert_unfinished(outcome);
    assert_eq!(committed(&db).await, 0);
}

/// case R22: the first row arrives and a later one fails, so the work has its answer before the
/// error.
#[tokio::test]
async fn a_row_taken_before_an_error_is_a_success_only_when_it_commits() {
    let (db, database) = counters().await;
    for round in 0..20 {
        let outcome: Result<String, Error> = database
            .write(async |conn| {
                bump(conn, 1).await?;
                let rows = "select repeat('x', 9000) || \
                    (case when g = 200 then (1 / (200 - g))::text else '' end) \
                    from generate_series(1, 200) g";
                Ok(diesel::dsl::sql::<Text>(rows).get_result(conn).await?)
            })
            .await;
        assert!(outcome.is_err(), "round {round}: {outcome:?}");
        assert_eq!(committed(&db).await, 0, "round {round}");
    }
}

/// case R22: a ROLLBACK of the work's own is not overlooked.
#[tokio::test]
async fn a_work_that_rolls_back_by_hand_is_no_success() {
    let (db, database) = counters().await;
    let outcome = database
        .write(async |conn| {
            bump(conn, 1).await?;
            Ok(conn.batch_execute("rollback").await?)
        })
        .await;
    assert_unfinished(outcome);
    assert_eq!(committed(&db).await, 0);
}

/// case F1: a SAVEPOINT, and a statement that would fail, dropped before a byte of them was sent.
#[tokio::test(flavor = "current_thread")]
async fn a_statement_dropped_before_it_was_sent_is_no_success() {
    let (db, database) = counters().await;
    let database = watched(&db, database);
    let outcome = database
        .write(async |conn| {
            bump(conn, 1).await?;
            let mut nested = Box::pin(conn.transaction(async |conn| bump(conn, 2).await));
            assert!(futures_util::poll!(&mut nested).is_pending());
            drop(nested);
            Ok(())
        })
        .await;
    assert_unfinished(outcome);
    let outcome = database
        .write(async |conn| {
            bump(conn, 1).await?;
            let mut failing = Box::pin(conn.batch_execute("select 1/0"));
            assert!(futures_util::poll!(&mut failing).is_pending());
            drop(failing);
            Ok(())
        })
        .await;
    assert_unfinished(outcome);
    assert_eq!(committed(&db).await, 0);
    database.rests().await;
}

/// case R28: after success and after failure, nothing waits for a statement that the work has given
/// up.
#[tokio::test]
async fn a_statement_given_up_is_not_waited_for() {
    let (db, database) = counters().await;
    for succeeds in [false, true] {
        let began = Instant::now();
        let outcome: Result<(), Error> = database
            .write(async |conn| {
                bump(conn, 1).await?;
                timeout(MOMENT, sleep(conn, 25.0)).await.unwrap_err();
                match succeeds {
                    true => Ok(()),
                    false => Err(QueryError::RollbackTransaction.into()),
                }
            })
            .await;
        let took = began.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        match succeeds {
            true => assert_unfinished(outcome),
            false => assert!(
                matches!(outcome, Err(Error::Query(QueryError::RollbackTransaction))),
                "{outcome:?}"
            ),
        }
        assert_eq!(committed(&db).await, 0);
    }
}

/// case R23: if the server refuses COMMIT itself, the work gets that error, and the pool keeps the
/// connection.
#[tokio::test]
async fn a_constraint_that_fails_at_commit_is_reported() {
    let (db, database) = counters().await;
    db.sql(
        "create table once (id int unique deferrable initially deferred); \
         grant all on once to public",
    )
    .await
    .unwrap();
    let outcome = database
        .write(async |conn| {
            Ok::<_, Error>(
                conn.batch_execute("insert into once values (1), (1)")
                    .await?,
            )
        })
        .await;
    let error = outcome.unwrap_err();
    let unique = DatabaseErrorKind::UniqueViolation;
    assert!(
        matches!(&error, Error::Query(QueryError::DatabaseError(kind, _)) if *kind == unique),
        "{error:?}"
    );
    assert_eq!(error.sqlstate().unwrap().code(), "23505");
    assert_eq!(
        db.scalar::<i64>("select count(*) from once").await.unwrap(),
        0
    );
    let status = &database.status()[0];
    assert_eq!((status.connects.opened, status.closed.discarded), (1, 0));
}

async fn sleep(conn: &mut AsyncPgConnection, seconds: f64) -> QueryResult<()> {
    conn.batch_execute(&format!("select pg_sleep({seconds})"))
        .await
}

#[track_caller]
fn assert_unfinished(outcome: Result<(), Error>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Unfinished(_)), "{error:?}");
    assert_eq!(error.kind(), Kind::Query);
}
