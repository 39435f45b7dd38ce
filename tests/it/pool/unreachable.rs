//! What callers are told when no connection can be made.

use std::time::Duration;

use app_db::{Environment, Kind, Pool, PoolError, PoolProfile};
use db_pool::ConnectFailure;
use harness::TestDatabase;

use super::{sized, url};
use crate::at_rest::{NoPool, open, unserved, watched};

/// case R02, case F6; req 4.47: a wrong password is said at once and not shown.
#[tokio::test]
async fn a_wrong_password_fails_fast() {
    let db = TestDatabase::empty().await.unwrap();
    let wrong = harness::url(
        db.server().port(),
        db.name(),
        db.role().name(),
        "wrongcanary",
    );
    let watch = watched(&db, NoPool);
    let error = Pool::connect(url(&wrong), sized(2)).await.unwrap_err();
    assert!(matches!(error, PoolError::Connect { .. }), "{error:?}");
    assert_eq!(error.sqlstate().unwrap().code(), "28P01");
    assert_eq!(
        error.connect_error().unwrap().failure(),
        ConnectFailure::Authentication
    );
    assert_eq!(error.kind(), Kind::Configuration);
    let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(!shown.contains("wrongcanary"), "{shown}");
    watch.rests().await;
}

/// case R02, case F6: the same with connections made ahead; one login fails and not one for each of them.
#[tokio::test]
async fn a_wrong_password_fails_fast_and_once_with_connections_made_ahead() {
    let db = TestDatabase::empty().await.unwrap();
    let wrong = harness::url(db.server().port(), db.name(), db.role().name(), "wrong");
    for _ in 0..5 {
        let profile = PoolProfile::of(&Environment::Prod);
        let pool = watched(&db, Pool::connect_lazy(url(&wrong), profile));
        let error = pool.get().await.unwrap_err();
        assert!(matches!(error, PoolError::Connect { .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Configuration, "{error:?}");
        // The next caller gets the error at once, without another login.
        pool.get().await.unwrap_err();
        assert!(pool.status().connects.failed <= 2, "{:?}", pool.status());
        assert_eq!(pool.status().checkouts.timed_out, 0);
        pool.rests_unserved().await;
    }
}

/// case R03: a missing database and a role that may not log in fail fast, at start and later.
#[tokio::test]
async fn what_cannot_heal_is_reported_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    let missing = harness::url(
        db.server().port(),
        "no_such_db",
        db.role().name(),
        &db.password(),
    );
    let error = Pool::connect(url(&missing), sized(2)).await.unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "3D000");

    let pool = watched(&db, Pool::connect_lazy(url(&db.url()), sized(2)));
    let role = db.role().name();
    db.server()
        .sql(&format!("ALTER ROLE {role} NOLOGIN"))
        .await
        .unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error, PoolError::Connect { .. }), "{error:?}");
    assert_eq!(error.sqlstate().unwrap().code(), "28000");
    pool.rests_unserved().await;
}

/// An unreachable host is a connect error that names the address, within the connect timeout.
#[tokio::test]
async fn an_unreachable_host_is_named() {
    let mut profile = sized(1);
    profile.checkout_timeout = Duration::from_millis(400);
    let error = Pool::connect(url("postgres://u:canary@127.0.0.1:1/d"), profile)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Down);
    assert_eq!(
        error.connect_error().unwrap().failure(),
        ConnectFailure::Unreachable
    );
    let cause = error.connect_error().unwrap().to_string();
    assert!(
        cause.contains("127.0.0.1:1/d") && !cause.contains("canary"),
        "{cause}"
    );
}

/// case R04: callers wait for a full server, and the timeout names it as the cause.
#[tokio::test]
async fn a_server_that_is_full_is_the_cause_of_the_timeout() {
    let db = TestDatabase::empty().await.unwrap();
    db.limit_connections(1).await.unwrap();
    let mut profile = sized(2);
    profile.checkout_timeout = Duration::from_millis(500);
    let pool = open(&db, profile).await;
    let held = pool.get().await.unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error, PoolError::Timeout { .. }), "{error:?}");
    assert_eq!(error.sqlstate().unwrap().code(), "53300");
    drop(held);
    db.limit_connections(2).await.unwrap();
    pool.rests().await;
}

/// case F8: a server that accepts and stays silent does not hold a caller beyond its deadline.
#[tokio::test]
async fn a_silent_server_is_given_up_on_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut profile = sized(1);
    profile.connect_timeout = Duration::from_millis(200);
    profile.checkout_timeout = Duration::from_millis(500);
    let pool = unserved(Pool::connect_lazy(
        url(&format!("postgres://u:p@127.0.0.1:{port}/d")),
        profile,
    ));
    // The watch checks that it is not too late.
    let error = pool.get().await.unwrap_err();
    assert_eq!(
        error.connect_error().unwrap().failure(),
        ConnectFailure::TimedOut
    );
    pool.rests_unserved().await;
}
