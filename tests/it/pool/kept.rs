//! How long the pool keeps its connections, and what it does about those that ended.

use db_pool::plumbing;
use std::time::{Duration, Instant};

use app_db::{Pool, PoolError};
use diesel_async::RunQueryDsl;
use harness::{TestDatabase, wait_until};

use super::{backend_pid, existing_code, pool_of, sized, url};
use crate::SOON;
use crate::at_rest::{open, open_at};

/// case R06: connections that the server ended while idle are never handed out.
#[tokio::test]
async fn terminated_idle_connections_are_not_seen_by_borrowers() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 5).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(pool.get().await.unwrap());
    }
    held.clear();
    db.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where application_name = 'app-db' and datname = current_database()",
    )
    .await
    .unwrap();
    wait_until("they have ended", SOON, async || {
        db.backends("app-db").await.unwrap().is_empty()
    })
    .await;
    for n in 0..200 {
        let mut conn = pool.get().await.unwrap();
        assert_eq!(existing_code(&mut conn, n).await, Ok(n));
    }
    pool.rests().await;
}

/// case R07, req 3.33: a connection that ends in mid-statement is replaced, and `min_idle` is kept.
#[tokio::test]
async fn the_keeper_refills_to_min_idle() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(4);
    profile.min_idle = 3;
    let pool = open(&db, profile).await;
    wait_until("three are idle", SOON, async || pool.status().idle == 3).await;
    let mut conn = pool.get().await.unwrap();
    let pid = backend_pid(&mut conn).await;
    let sleeping = tokio::spawn(async move {
        let outcome = diesel::sql_query("select pg_sleep(60)")
            .execute(&mut conn)
            .await;
        (outcome, plumbing::observed(&conn).last_error())
    });
    wait_until("it sleeps", SOON, async || {
        db.backends("app-db")
            .await
            .unwrap()
            .iter()
            .any(|b| b.query.contains("pg_sleep") && b.state == "active")
    })
    .await;
    db.sql(&format!("select pg_terminate_backend({pid})"))
        .await
        .unwrap();
    let (outcome, last) = sleeping.await.unwrap();
    outcome.unwrap_err();
    assert_eq!(last.unwrap().sqlstate().code(), "57P01");
    wait_until("three are idle again", SOON, async || {
        pool.status().idle == 3
    })
    .await;
    assert_eq!(pool.status().in_use, 0);
    pool.rests().await;
}

/// case R05, case R08, req 4.27: a pool survives a restart of its server without a restart of its own.
#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let cluster = harness::Cluster::start(harness::ClusterOptions::default())
        .await
        .unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let mut profile = sized(2);
    profile.checkout_timeout = Duration::from_secs(10);
    let pool = open(&db, profile).await;
    drop(pool.get().await.unwrap());
    cluster.stop(harness::Stop::Immediate).await.unwrap();
    let waiting = {
        let pool = pool.clone();
        tokio::spawn(async move {
            existing_code(&mut *pool.get().await?, 5)
                .await
                .map_err(|e| panic!("{e}"))
                .map_err(|e: PoolError| e)
        })
    };
    wait_until("connecting has failed", SOON, async || {
        pool.status().connects.failed > 0
    })
    .await;
    cluster.start_again().await.unwrap();
    let back = Instant::now();
    assert_eq!(waiting.await.unwrap().unwrap(), 5);
    assert!(
        back.elapsed() < Duration::from_secs(2),
        "{:?}",
        back.elapsed()
    );
    assert!(pool.status().connects.failed <= 10);
    pool.rests().await;
}

/// case R09, case R10, req 4.26, req 4.38: lifetime and idle timeout end connections, spread out and not below
/// `min_idle`.
#[tokio::test]
async fn old_and_idle_connections_end() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(5);
    profile.min_idle = 2;
    profile.idle_timeout = Some(Duration::from_millis(200));
    let pool = open(&db, profile).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(pool.get().await.unwrap());
    }
    held.clear();
    wait_until("three are gone", SOON, async || {
        pool.status().idle == 2 && db.backends("app-db").await.unwrap().len() == 2
    })
    .await;
    let status = pool.status();
    assert_eq!(
        (status.closed.by_idle_timeout, status.closed.by_age),
        (3, 0)
    );
    pool.rests().await;

    let mut profile = sized(1);
    profile.max_lifetime = Some(Duration::from_millis(200));
    let short = open(&db, profile).await;
    let mut conn = short.get().await.unwrap();
    let pid = backend_pid(&mut conn).await;
    drop(conn);
    wait_until("it is replaced", SOON, async || {
        backend_pid(&mut short.get().await.unwrap()).await != pid
    })
    .await;
    let status = short.status();
    assert!(status.closed.by_age > 0, "{status:?}");
    assert_eq!(status.closed.by_idle_timeout + status.closed.by_uses, 0);
    short.rests().await;
}

/// req 2.05, req 2.13: a connection is replaced after its last use.
#[tokio::test]
async fn a_connection_is_used_only_so_often() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(1);
    profile.max_uses = 3;
    // The first use is the pool's own proof.
    let pool = Pool::connect(url(&db.url()), profile).await.unwrap();
    let mut pids = Vec::new();
    for _ in 0..6 {
        pids.push(backend_pid(&mut pool.get().await.unwrap()).await);
    }
    pids.dedup();
    assert_eq!(pids.len(), 3, "{pids:?}");
    assert_eq!(pool.status().closed.by_uses, 2);
}

/// case R12: dropping the pool first is fine; what is held is closed when it comes back.
#[tokio::test]
async fn the_last_handle_may_go_before_its_connections() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 3).await;
    let mut held = pool.get().await.unwrap();
    drop(pool.get().await.unwrap());
    let resting = pool.without_a_handle();
    assert_eq!(existing_code(&mut held, 3).await, Ok(3));
    drop(held);
    resting.rests().await;
}

/// case F9, req 1.07, req 4.17: a connection that has gone silent is found out by a ping that ends, and is thrown away.
#[tokio::test]
async fn a_half_open_connection_is_thrown_away() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = harness::Proxy::start(db.server().port()).await.unwrap();
    let mut profile = sized(2);
    profile.validate_after = Duration::ZERO;
    profile.validation_timeout = Duration::from_millis(100);
    let pool = open_at(&db, &db.proxied_url(&proxy), profile).await;
    proxy.set(harness::Fault::Stall).await;
    let stalled = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.get().await.map(drop) })
    };
    wait_until("it is thrown away", SOON, async || {
        pool.status().closed.discarded > 0
    })
    .await;
    proxy.set(harness::Fault::None).await;
    stalled.await.unwrap().unwrap();
    pool.rests().await;
}
