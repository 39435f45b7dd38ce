//! What a pool may leave behind is found, each by itself.

use std::convert::Infallible;
use std::time::Duration;

use app_db::PoolProfile;
use db_pool::Reset;
use diesel_async::SimpleAsyncConnection;
use harness::{TestDatabase, wait_until};
use tokio_postgres::{Client, NoTls};

use crate::SOON;
use crate::at_rest::{Watched, in_time, open};
use crate::pool::sized;

async fn watched_pool(profile: PoolProfile) -> (TestDatabase, Watched) {
    let db = TestDatabase::empty().await.unwrap();
    let pool = open(&db, profile).await.impatient();
    (db, pool)
}

/// A foreign session that uses the pool's name.
async fn impostor(db: &TestDatabase) -> Client {
    let mut config: tokio_postgres::Config = db.url().parse().unwrap();
    let connecting = config.application_name("app-db").connect(NoTls);
    let (client, connection) = connecting.await.unwrap();
    harness::beside(connection);
    client
}

#[tokio::test]
async fn a_pool_that_leaves_nothing_rests() {
    let (_db, pool) = watched_pool(sized(2)).await;
    drop(pool.get().await.unwrap());
    pool.rests().await;
}

#[tokio::test]
#[should_panic(expected = "nobody has looked at the end of this pool")]
async fn a_forgotten_end_is_found() {
    let (_db, pool) = watched_pool(sized(2)).await;
    drop(pool);
}

#[tokio::test]
#[should_panic(expected = "1 in use")]
async fn a_held_connection_is_found() {
    let (_db, pool) = watched_pool(sized(2)).await;
    let _held = pool.get().await.unwrap();
    pool.rests().await;
}

#[tokio::test]
#[should_panic(expected = "1 advisory locks are left")]
async fn an_advisory_lock_is_found() {
    let mut profile = sized(2);
    profile.reset = Reset::Never;
    let (_db, pool) = watched_pool(profile).await;
    let mut conn = pool.get().await.unwrap();
    let lock = "select pg_advisory_lock(1)";
    conn.batch_execute(lock).await.unwrap();
    drop(conn);
    pool.rests().await;
}

#[tokio::test]
#[should_panic(expected = "more than 1 idle sessions")]
async fn a_session_of_no_connection_is_found() {
    let (db, pool) = watched_pool(sized(2)).await;
    let _another = impostor(&db).await;
    pool.rests().await;
}

#[tokio::test]
#[should_panic(expected = "idle in transaction")]
async fn a_transaction_left_open_is_found() {
    let (db, pool) = watched_pool(sized(2)).await;
    let another = impostor(&db).await;
    another.batch_execute("begin").await.unwrap();
    pool.rests().await;
}

#[tokio::test]
#[should_panic(expected = "not all of 2 places can be had")]
async fn a_lost_place_is_found() {
    let (db, pool) = watched_pool(sized(2)).await;
    db.limit_connections(1).await.unwrap();
    pool.rests().await;
}

/// Although it has ended by then.
#[tokio::test]
#[should_panic(expected = "3 sessions of app-db, of 1 allowed")]
async fn a_session_too_many_is_found() {
    let (db, pool) = watched_pool(sized(1)).await;
    let others = [impostor(&db).await, impostor(&db).await];
    wait_until("the census has seen them", SOON, async || {
        pool.peak("app-db") == 3
    })
    .await;
    drop(others);
    wait_until("they have gone", SOON, async || {
        db.backends("app-db").await.unwrap().len() == 1
    })
    .await;
    pool.rests().await;
}

#[tokio::test]
#[should_panic(expected = "1 tasks are left")]
async fn a_task_that_does_not_end_is_found() {
    let (_db, pool) = watched_pool(sized(2)).await;
    tokio::spawn(std::future::pending::<()>());
    pool.rests().await;
}

#[tokio::test]
#[should_panic(expected = "a secret was said")]
async fn a_traced_password_is_found() {
    let (db, pool) = watched_pool(sized(2)).await;
    tracing::trace!(url = db.url(), "connecting");
    pool.rests().await;
}

#[tokio::test]
#[should_panic(expected = "a secret was said")]
async fn a_password_in_a_span_is_found() {
    let (db, pool) = watched_pool(sized(2)).await;
    let span = tracing::debug_span!("connect", url = tracing::field::Empty);
    span.record("url", db.url());
    pool.rests().await;
}

#[tokio::test]
#[should_panic(expected = "a secret was said")]
async fn a_password_in_a_panic_is_found() {
    let (db, pool) = watched_pool(sized(2)).await;
    let password = db.password();
    let panicked = tokio::spawn(async move { panic!("{password}") });
    panicked.await.unwrap_err();
    pool.rests().await;
}

#[tokio::test]
async fn another_databases_password_is_its_own_matter() {
    let (_db, pool) = watched_pool(sized(2)).await;
    let other = TestDatabase::empty().await.unwrap();
    tracing::info!(password = other.password());
    assert_eq!(harness::overheard(other.name()).len(), 1);
    pool.rests().await;
}

/// A checkout may take 250 ms beyond its deadline.
#[tokio::test]
#[should_panic(expected = "no answer by 100ms, nor 250ms later")]
async fn a_late_checkout_is_found() {
    let late = std::future::pending::<Result<(), Infallible>>();
    let _done = in_time(Duration::from_millis(100), late).await;
}

#[tokio::test]
#[should_panic(expected = "Some(\"t_")]
async fn a_password_in_an_error_is_found() {
    let db = TestDatabase::empty().await.unwrap();
    let refused = async { Err::<(), _>(std::io::Error::other(db.url())) };
    let _refused = in_time(Duration::ZERO, refused).await;
}
