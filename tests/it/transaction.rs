//! The helpers for transactions: what commits, what is retried, and the caller's errors.

mod cut_short;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use app_db::{Config, ConnectionExt, Database, Error, Kind};
use diesel::QueryResult;
use diesel::result::Error as QueryError;
use diesel::sql_types::{BigInt, Integer};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::TestDatabase;
use tokio::sync::Barrier;

use crate::at_rest::watched;

/// A database handle over `url`, with further variables.
pub(crate) async fn database(url: &str, more: &[(&str, &str)]) -> Database {
    Database::connect(&config(url, more)).await.unwrap()
}

pub(crate) fn config(url: &str, more: &[(&str, &str)]) -> Config {
    let vars = [
        ("APP_ENV", "test"),
        ("DATABASE_URL", url),
        ("APP_DB__PROFILE__MIN_IDLE", "0"),
        // Less than `SOON`, so that a test may wait for the end of a rotation.
        ("APP_DB__CREDENTIALS__DRAIN_SPREAD", "1s"),
    ];
    let vars = vars
        .iter()
        .chain(more)
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    // A folder without `config/` and `.env`.
    Config::load_from(std::path::Path::new("/var/empty/none"), vars).unwrap()
}

pub(crate) async fn prepared() -> (TestDatabase, Database) {
    let db = TestDatabase::empty().await.unwrap();
    db.sql(
        "create table t (id int primary key, n bigint not null default 0); \
         insert into t select g, 0 from generate_series(1, 10) g; grant all on t to public",
    )
    .await
    .unwrap();
    let database = database(&db.url(), &[]).await;
    (db, database)
}

/// `load` by its full name: diesel has one for everything.
pub(crate) fn value(counter: &AtomicU32) -> u32 {
    AtomicU32::load(counter, Ordering::SeqCst)
}

pub(crate) async fn bump(conn: &mut AsyncPgConnection, id: i32) -> QueryResult<usize> {
    diesel::sql_query("update t set n = n + 1 where id = $1")
        .bind::<Integer, _>(id)
        .execute(conn)
        .await
}

pub(crate) async fn n(conn: &mut AsyncPgConnection, id: i32) -> QueryResult<i64> {
    diesel::dsl::sql::<BigInt>("select n from t where id = ")
        .bind::<Integer, _>(id)
        .get_result(conn)
        .await
}

/// req 2.33, req 2.34: committed on success, rolled back on error, and the connection comes back in either case.
#[tokio::test]
async fn write_commits_on_success_and_rolls_back_on_error() {
    let (db, database) = prepared().await;
    let one = database.write(async |conn| bump(conn, 1).await).await;
    assert_eq!(one, Ok(1));
    let failed: QueryResult<()> = database
        .write(async |conn| {
            bump(conn, 2).await?;
            Err(QueryError::RollbackTransaction)
        })
        .await;
    assert_eq!(failed, Err(QueryError::RollbackTransaction));
    let sums: String = db
        .scalar("select string_agg(n::text, '' order by id) from t")
        .await
        .unwrap();
    assert_eq!(sums, "1000000000");
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

/// A function by its name, a borrowing closure in a spawned task, and a user's own error type all work.
#[tokio::test]
async fn work_comes_in_every_shape() {
    #[derive(Debug, thiserror::Error)]
    enum Own {
        #[error(transparent)]
        Db(#[from] Error),
        #[error(transparent)]
        Query(#[from] QueryError),
        #[error("taken")]
        Taken,
    }
    async fn count(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
        diesel::dsl::sql::<BigInt>("select count(*) from t")
            .get_result(conn)
            .await
    }
    let (_db, database) = prepared().await;
    assert_eq!(database.read(count).await, Ok(10));
    let id = 3;
    tokio::spawn(async move {
        let name = String::from("x");
        let seen = database
            .write(async |conn| {
                assert_eq!(name, "x");
                conn.transaction(async |conn| bump(conn, id).await).await?;
                Ok::<_, Own>(n(conn, id).await?)
            })
            .await;
        assert_eq!(seen.unwrap(), 1);
        let mut once = Vec::new();
        let run = database
            .transaction()
            .run_once(async |conn| {
                once.push(n(conn, id).await?);
                Err::<(), _>(Own::Taken)
            })
            .await;
        assert!(matches!(run, Err(Own::Taken)));
        assert_eq!(once, [1]);
    })
    .await
    .unwrap();
}

/// case R62; req 2.33: reading is READ ONLY in every environment.
#[tokio::test]
async fn writing_in_read_fails_with_25006() {
    let (_db, database) = prepared().await;
    let error = database
        .read(async |conn| {
            let failed = bump(conn, 1).await;
            assert_eq!(conn.last_error().unwrap().sqlstate().code(), "25006");
            failed.map_err(Error::from)
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Query);
    assert_eq!(error.sqlstate().unwrap().code(), "25006");
}

/// case R21, case F5: the victim of a deadlock is tried again, and both effects are there once.
#[tokio::test]
async fn a_deadlock_is_tried_again() {
    let (db, database) = prepared().await;
    let database = watched(&db, database);
    let both_have_one = Arc::new(Barrier::new(2));
    let attempts = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = [(1, 2), (2, 1)]
        .into_iter()
        .map(|(first, second)| {
            let (database, barrier, attempts) = (
                database.clone(),
                Arc::clone(&both_have_one),
                Arc::clone(&attempts),
            );
            tokio::spawn(async move {
                database
                    .write(async |conn| {
                        let nth = attempts.fetch_add(1, Ordering::SeqCst);
                        bump(conn, first).await?;
                        if nth < 2 {
                            barrier.wait().await;
                        }
                        bump(conn, second).await
                    })
                    .await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(1));
    }
    assert_eq!(value(&attempts), 3);
    let counts: String = db
        .scalar("select string_agg(n::text, ',' order by id) from t where id < 3")
        .await
        .unwrap();
    assert_eq!(counts, "2,2");
    database.rests().await;
}

/// req 0.07: a conflict that never ends is reported as such, with its exact code, and as diesel's own word for it.
#[tokio::test]
async fn attempts_are_bounded() {
    let (_db, database) = prepared().await;
    let attempts = AtomicU32::new(0);
    let conflicting = async |conn: &mut AsyncPgConnection| {
        attempts.fetch_add(1, Ordering::SeqCst);
        conn.batch_execute("do $$ begin raise exception 'no' using errcode = '40P01'; end $$")
            .await
    };
    let error = database
        .transaction()
        .attempts(4)
        .run(async |conn| conflicting(conn).await.map_err(Error::from))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Conflict { attempts: 4, .. }),
        "{error:?}"
    );
    assert_eq!(
        (error.kind(), error.sqlstate().unwrap().code().to_owned()),
        (Kind::Conflict, "40P01".to_owned())
    );
    assert_eq!(value(&attempts), 4);
    let as_diesel: QueryResult<()> = database.transaction().attempts(1).run(conflicting).await;
    assert!(matches!(
        as_diesel,
        Err(QueryError::DatabaseError(
            diesel::result::DatabaseErrorKind::SerializationFailure,
            _
        ))
    ));
}

/// case R22: a failure that the work ignored is not reported as a success.
#[tokio::test]
async fn a_swallowed_failure_does_not_commit() {
    let (db, database) = prepared().await;
    let outcome = database
        .write(async |conn| {
            bump(conn, 1).await?;
            let _ignored = conn.batch_execute("select 1/0").await;
            Ok::<_, Error>("fine")
        })
        .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Aborted(_)), "{error:?}");
    assert_eq!(error.sqlstate().unwrap().code(), "22012");
    let n: i64 = db.scalar("select n from t where id = 1").await.unwrap();
    assert_eq!(n, 0);
    assert_eq!(database.status()[0].closed.discarded, 0);
}

/// case R23: a failure that is no conflict is not retried.
#[tokio::test]
async fn other_errors_are_not_tried_again() {
    let (_db, database) = prepared().await;
    let attempts = AtomicU32::new(0);
    let outcome: QueryResult<usize> = database
        .write(async |conn| {
            attempts.fetch_add(1, Ordering::SeqCst);
            diesel::sql_query("insert into t values (1, 1)")
                .execute(conn)
                .await
        })
        .await;
    assert!(matches!(
        outcome,
        Err(QueryError::DatabaseError(
            diesel::result::DatabaseErrorKind::UniqueViolation,
            _
        ))
    ));
    assert_eq!(value(&attempts), 1);
}

/// case R26: a nested transaction is a savepoint.
#[tokio::test]
async fn a_nested_rollback_keeps_the_outer_work() {
    let (db, database) = prepared().await;
    let outcome: QueryResult<()> = database
        .write(async |conn| {
            bump(conn, 1).await?;
            let inner: QueryResult<()> = conn
                .transaction(async |conn| {
                    bump(conn, 2).await?;
                    Err(QueryError::RollbackTransaction)
                })
                .await;
            assert_eq!(inner, Err(QueryError::RollbackTransaction));
            Ok(())
        })
        .await;
    outcome.unwrap();
    let counts: String = db
        .scalar("select string_agg(n::text, ',' order by id) from t where id < 3")
        .await
        .unwrap();
    assert_eq!(counts, "1,0");
}

/// An action for after the commit runs once, after the commit, and not after a rollback or for a failed attempt.
#[tokio::test]
async fn after_commit_runs_after_a_commit() {
    let (_db, database) = prepared().await;
    let ran = Arc::new(AtomicU32::new(0));
    let attempts = AtomicU32::new(0);
    let outcome: QueryResult<()> = database
        .write(async |conn| {
            let count = Arc::clone(&ran);
            conn.after_commit(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
            assert_eq!(value(&ran), 0);
            if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
                conn.batch_execute(
                    "do $$ begin raise exception 'no' using errcode = '40001'; end $$",
                )
                .await?;
            }
            Ok(())
        })
        .await;
    outcome.unwrap();
    assert_eq!(value(&ran), 1);
    let rolled_back: QueryResult<()> = database
        .write(async |conn| {
            let count = Arc::clone(&ran);
            conn.after_commit(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
            Err(QueryError::RollbackTransaction)
        })
        .await;
    rolled_back.unwrap_err();
    database
        .write(async |_conn| QueryResult::Ok(()))
        .await
        .unwrap();
    assert_eq!(value(&ran), 1);
}
