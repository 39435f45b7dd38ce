//! Changing the size of a pool at run time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use app_db::{Kind, Pool, PoolError};
use diesel_async::SimpleAsyncConnection;
use harness::{TestDatabase, wait_until};

use crate::SOON;
use crate::at_rest::open;
use crate::pool::{sized, url};

/// case R18, req 3.37, req 3.39: 5 → 20 → 5 under load. The server never sees more sessions than the size
/// allows, and no caller is sent away.
#[tokio::test]
async fn a_pool_is_resized_under_load() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(5);
    profile.ceiling = 20;
    profile.checkout_timeout = Duration::from_secs(60);
    let pool = open(&db, profile).await.with_sessions(20);
    let enough = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..60)
        .map(|_| {
            let (pool, enough) = (pool.clone(), Arc::clone(&enough));
            tokio::spawn(async move {
                while !enough.load(Ordering::Relaxed) {
                    let mut conn = pool.get().await.unwrap();
                    conn.batch_execute("select pg_sleep(0.002)").await.unwrap();
                }
            })
        })
        .collect();
    let backends = async || db.backends("app-db").await.unwrap().len();
    wait_until("five work", SOON, async || backends().await == 5).await;
    pool.resize(20).unwrap();
    wait_until("twenty work", SOON, async || {
        let now = backends().await;
        assert!(now <= 20, "{now}");
        now == 20
    })
    .await;
    assert_eq!(pool.status().waiting, 40);
    pool.resize(5).unwrap();
    // Waiting callers keep waiting, and nobody is let in while too many connections are still out.
    wait_until("fifteen have gone", SOON, async || backends().await <= 5).await;
    let opened = pool.status().connects.opened;
    for _ in 0..30 {
        let now = backends().await;
        assert!(now <= 5, "{now}");
    }
    assert!(pool.status().waiting >= 55 - 5, "{}", pool.status());
    enough.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let status = pool.status();
    assert_eq!(
        (status.connects.opened, status.max),
        (opened, 5),
        "none was replaced"
    );
    assert_eq!(
        (status.closed.by_resize, status.checkouts.timed_out),
        (15, 0)
    );
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(pool.try_get().await.unwrap());
    }
    assert!(matches!(pool.try_get().await, Err(PoolError::InUse { .. })));
    drop(held);
    pool.rests().await;
}

/// req 3.38: connections in use are not disturbed, and exactly the surplus is closed.
#[tokio::test]
async fn shrinking_waits_for_what_is_in_use() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), sized(5)).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(pool.get().await.unwrap());
    }
    drop(held.pop());
    pool.resize(2).unwrap();
    wait_until("the idle one goes at once", SOON, async || {
        db.backends("app-db").await.unwrap().len() == 4
    })
    .await;
    for conn in &mut held {
        conn.batch_execute("select 1").await.unwrap();
    }
    let mut pids: Vec<_> = held.iter().map(app_db::Connection::backend_pid).collect();
    held.clear();
    wait_until("two more have gone", SOON, async || pool.status().open == 2).await;
    let status = pool.status();
    assert_eq!((status.closed.by_resize, status.connects.opened), (3, 5));
    let both = [pool.try_get().await.unwrap(), pool.try_get().await.unwrap()];
    pids.retain(|pid| both.iter().any(|conn| conn.backend_pid() == *pid));
    assert_eq!(pids.len(), 2, "no connection was made anew");
    pool.resize(3).unwrap();
    drop(pool.try_get().await.unwrap());
}

/// req 4.49: the ceiling is the most that can be asked for, and nothing is silently another number.
#[tokio::test]
async fn a_size_beyond_the_ceiling_is_refused() {
    let mut profile = sized(5);
    profile.ceiling = 20;
    let pool = Pool::connect_lazy(url("postgres://u:p@127.0.0.1:1/d"), profile);
    for asked in [0, 21, u32::MAX] {
        let error = pool.resize(asked).unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration);
        assert_eq!(
            error.to_string(),
            format!("pool `pool` cannot be resized to {asked}, expected 1 to the ceiling of 20")
        );
        assert!(matches!(error, PoolError::Resize { ceiling: 20, .. }));
    }
    assert_eq!(pool.status().max, 5);
    pool.resize(20).unwrap();
    assert_eq!(pool.status().max, 20);
}
