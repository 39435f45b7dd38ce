//! The connection is lost between the last statement of the work and its COMMIT: nothing was committed, and the caller
//! may run it again.

use std::sync::Arc;
use std::time::Duration;

use app_db::{Database, Error, Kind};
use db_pool::plumbing::{Observed, Observer};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::{Bouncer, BouncerOptions, Cluster, ClusterOptions, PoolMode, TestDatabase};
use tokio::time::timeout;

use super::told;
use crate::SOON;
use crate::commit::interrupted::closed;
use crate::transaction::{bump, database, prepared};

async fn changed(db: &TestDatabase) -> i64 {
    db.scalar("select sum(n)::bigint from t").await.unwrap()
}

/// Runs work that has changed a row when something ends its session, which `ends` begins.
async fn lost_meanwhile<F: Future<Output = ()> + Send>(
    database: &Database,
    ends: impl Fn(i32) -> F + Send + Sync,
) -> Error {
    let ends = &ends;
    let outcome: Result<(), Error> = database
        .write(async |conn| {
            bump(conn, 1).await?;
            let pid: i32 =
                diesel::dsl::sql::<diesel::sql_types::Integer>("select pg_backend_pid()")
                    .get_result(conn)
                    .await?;
            let observed = observed(conn);
            ends(pid).await;
            timeout(SOON, closed(observed)).await.unwrap();
            Ok(())
        })
        .await;
    outcome.unwrap_err()
}

fn observed(conn: &mut AsyncPgConnection) -> Arc<Observed> {
    Arc::clone(Observer::of(conn).unwrap().observed())
}

#[tokio::test]
async fn a_session_ended_by_an_administrator_before_commit_is_down() {
    let (db, database) = prepared().await;
    let db = &db;
    let error = lost_meanwhile(&database, |pid| async move {
        db.sql(&format!("select pg_terminate_backend({pid})"))
            .await
            .unwrap();
    })
    .await;
    assert_eq!(
        told(&error),
        (Kind::Down, Some("57P01".to_owned())),
        "{error:?}"
    );
    assert!(error.report().contains("administrator"), "{error:?}");
    assert_eq!(changed(db).await, 0);
}

#[tokio::test]
async fn a_process_killed_before_commit_is_down() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    db.sql("create table t (id int primary key, n bigint not null default 0); insert into t values (1, 0); grant all on t to public")
        .await
        .unwrap();
    let (database, cluster) = (database(&db.url(), &[]).await, &cluster);
    let error = lost_meanwhile(&database, |pid| async move {
        cluster.kill_backend(pid).unwrap();
    })
    .await;
    assert_eq!(error.kind(), Kind::Down, "{error:?}");
    harness::wait_until("the server has recovered", SOON, async || {
        db.scalar::<i64>("select sum(n)::bigint from t")
            .await
            .is_ok_and(|sum| sum == 0)
    })
    .await;
}

#[tokio::test]
async fn a_server_that_hangs_up_for_idleness_before_commit_is_down() {
    let (db, unbounded) = prepared().await;
    drop(unbounded);
    let bound = (
        "APP_DB__PROFILE__IDLE_IN_TRANSACTION_SESSION_TIMEOUT",
        "50ms",
    );
    let database = database(&db.url(), &[bound]).await;
    let error = lost_meanwhile(&database, |_pid| async {}).await;
    assert_eq!(
        told(&error),
        (Kind::Down, Some("25P03".to_owned())),
        "{error:?}"
    );
    assert!(!error.report().contains("had failed"), "{error:?}");
    assert_eq!(changed(&db).await, 0);
}

#[tokio::test]
async fn a_pooler_that_hangs_up_for_idleness_before_commit_is_down() {
    let (db, _direct) = prepared().await;
    let options =
        BouncerOptions::mode(PoolMode::Transaction).setting("idle_transaction_timeout", "1");
    let bouncer = Bouncer::start(db.server(), options).await.unwrap();
    let database = database(&db.pooled_url(&bouncer), &[]).await;
    let error = lost_meanwhile(&database, |_pid| async {}).await;
    assert_eq!(error.kind(), Kind::Down, "{error:?}");
    assert!(
        error.report().contains("idle transaction timeout"),
        "{error:?}"
    );
    assert_eq!(changed(&db).await, 0);
}

/// The work blocks its thread, so nobody has read the server's final message when COMMIT is due.
#[tokio::test]
async fn a_session_that_ended_while_the_work_blocked_its_thread_is_down() {
    let (db, unbounded) = prepared().await;
    drop(unbounded);
    let bound = (
        "APP_DB__PROFILE__IDLE_IN_TRANSACTION_SESSION_TIMEOUT",
        "50ms",
    );
    let database = database(&db.url(), &[bound]).await;
    let outcome: Result<(), Error> = database
        .write(async |conn| {
            bump(conn, 1).await?;
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        })
        .await;
    let error = outcome.unwrap_err();
    assert_eq!(
        told(&error),
        (Kind::Down, Some("25P03".to_owned())),
        "{error:?}"
    );
    assert_eq!(changed(&db).await, 0);
}
