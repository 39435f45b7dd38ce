//! A server that is gone for long: callers are told at once, and the pool finds it again.

use std::time::{Duration, Instant};

use app_db::{Breaker, Kind, Pool, PoolError, PoolProfile};
use db_pool::ConnectFailure;
use harness::{Cluster, ClusterOptions, Stop, TestDatabase, wait_until};

use crate::SOON;
use crate::at_rest::open;
use crate::pool::{sized, url};

/// Opens after three failures, a tenth of a second apart.
fn hasty(max: u32) -> PoolProfile {
    let mut profile = sized(max);
    profile.reconnect.attempts = 3;
    profile.reconnect.base_delay = Duration::from_millis(100);
    profile.reconnect.max_delay = Duration::from_millis(400);
    profile
}

async fn fail_until_open(pool: &Pool) {
    wait_until("the breaker opens", SOON, async || {
        pool.get().await.unwrap_err();
        pool.status().breaker == Breaker::Open
    })
    .await;
}

/// req 0.09, req 2.37, req 2.38, req 4.39: while the breaker is open, calls fail at once with the last cause. It
/// closes even if nobody calls.
#[tokio::test]
async fn an_open_breaker_fails_calls_at_once_and_closes_by_itself() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let pool = Pool::connect(url(&db.url()), hasty(5)).await.unwrap();
    cluster.stop(Stop::Immediate).await.unwrap();
    fail_until_open(&pool).await;
    let mut fastest = SOON;
    for _ in 0..20 {
        let began = Instant::now();
        let error = pool.get().await.unwrap_err();
        fastest = fastest.min(began.elapsed());
        assert!(matches!(error, PoolError::Connect { .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Down);
        let cause = error.connect_error().unwrap();
        assert_eq!(cause.failure(), ConnectFailure::Unreachable, "{cause}");
    }
    assert!(fastest < Duration::from_millis(5), "{fastest:?}");

    cluster.start_again().await.unwrap();
    wait_until("the keeper finds the server", SOON, async || {
        pool.status().breaker == Breaker::Closed
    })
    .await;
    assert_eq!(db.backends("app-db").await.unwrap().len(), 1);
    let opened = pool.status().connects.opened;
    drop(pool.get().await.unwrap());
    assert_eq!(
        pool.status().connects.opened,
        opened,
        "what it made is handed out"
    );
}

/// case R05; req 0.10, req 0.11: while calls come, one of them tries the server once a second.
#[tokio::test]
async fn calls_find_the_server_again_within_two_seconds() {
    let logged = ClusterOptions::default()
        .setting("log_connections", "on")
        .setting("log_line_prefix", "%u ");
    let cluster = Cluster::start(logged).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let mut profile = sized(5);
    profile.reconnect.attempts = 2;
    let pool = open(&db, profile).await;
    cluster.stop(Stop::Immediate).await.unwrap();
    fail_until_open(&pool).await;
    let failures = pool.status().connects.failed;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        pool.get().await.unwrap_err();
    }
    let tried = pool.status().connects.failed - failures;
    assert!((1..=5).contains(&tried), "{tried} attempts in two seconds");

    cluster.start_again().await.unwrap();
    let back = Instant::now();
    wait_until("a call is served", SOON, async || pool.get().await.is_ok()).await;
    let took = back.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(pool.status().breaker, Breaker::Closed);
    pool.rests().await;
}

/// case R04: an open breaker keeps nobody from a live connection.
#[tokio::test]
async fn a_live_connection_is_handed_out_while_the_breaker_is_open() {
    let db = TestDatabase::empty().await.unwrap();
    db.limit_connections(1).await.unwrap();
    let mut profile = hasty(2);
    profile.checkout_timeout = Duration::from_millis(700);
    let pool = open(&db, profile).await;
    let held = pool.get().await.unwrap();
    // It waits, as what is held may come back.
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error, PoolError::Timeout { .. }), "{error:?}");
    assert_eq!(error.sqlstate().unwrap().code(), "53300");
    assert_ne!(pool.status().breaker, Breaker::Closed);
    drop(held);
    // With no time at all it gets what is idle, or nothing.
    drop(pool.get_timeout(Duration::ZERO).await.unwrap());
    // Half open, where the keeper is making its attempt.
    assert_ne!(pool.status().breaker, Breaker::Closed);
    db.limit_connections(2).await.unwrap();
    pool.rests().await;
}

/// req 2.37: callers that wait when the breaker opens get the error too.
#[tokio::test]
async fn callers_who_wait_when_the_breaker_opens_are_told() {
    let mut profile = hasty(3);
    profile.checkout_timeout = Duration::from_secs(30);
    let pool = Pool::connect_lazy(url("postgres://u:p@127.0.0.1:1/d"), profile);
    let callers = (0..10).map(|_| pool.get());
    for refused in futures_util::future::join_all(callers).await {
        let error = refused.unwrap_err();
        assert!(matches!(error, PoolError::Connect { .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Down);
    }
    // Up to eight of a cold pool's at once, two more, and nobody's time was up.
    let status = pool.status();
    assert!((3..=10).contains(&status.connects.failed), "{status:?}");
    assert_eq!(status.checkouts.timed_out, 0);
}

/// A caller with a fallback gets an answer at once, even the first one, before the breaker opens. A
/// caller without a fallback waits, because a restart is soon over.
#[tokio::test]
async fn a_caller_that_does_not_queue_is_told_at_once_that_the_server_is_gone() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let pool = Pool::connect(url(&db.url()), sized(5)).await.unwrap();
    cluster.stop(Stop::Immediate).await.unwrap();
    for _ in 0..20 {
        let began = Instant::now();
        let error = pool.try_get().await.unwrap_err();
        assert!(began.elapsed() < Duration::from_millis(400), "{error:?}");
        assert!(matches!(error, PoolError::Connect { .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Down);
    }
    assert_eq!(pool.status().breaker, Breaker::Closed);
    let began = Instant::now();
    let patience = Duration::from_millis(300);
    let error = pool.get_timeout(patience).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Down, "{error:?}");
    assert!(began.elapsed() >= patience);
    let mut eager = sized(5);
    eager.reconnect.attempts = 1;
    let eager = Pool::connect_lazy(url(&db.url()), eager);
    let began = Instant::now();
    assert_eq!(eager.get().await.unwrap_err().kind(), Kind::Down);
    assert!(began.elapsed() < Duration::from_secs(1));
}
