//! Settings that change while a pool is in use.

use std::time::Duration;

use app_db::{Kind, PoolError};
use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use harness::{TestDatabase, wait_until};

use crate::SOON;
use crate::at_rest::open;
use crate::pool::sized;

/// req 3.37: a change takes effect completely or not at all, and all problems are named at once.
#[tokio::test]
async fn a_change_that_is_wrong_changes_nothing() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(5);
    profile.ceiling = 20;
    let pool = open(&db, profile).await;
    let before = pool.settings();
    let error = pool
        .reconfigure(|settings| {
            settings.idle_timeout = Some(Duration::from_secs(7));
            settings.max = 21;
            settings.min_idle = 30;
        })
        .unwrap_err();
    assert!(matches!(error, PoolError::Settings { .. }));
    assert_eq!(error.kind(), Kind::Configuration);
    assert_eq!(
        error.to_string(),
        "the settings of pool `pool` stay as they are: max is 21, expected 1 to the ceiling of 20; min_idle is 30, \
         expected 0 to the max of 21"
    );
    assert_eq!(pool.settings(), before);
    pool.rests().await;
}

/// req 3.37, req 3.38: a change of all settings does not disturb a holder. A connection that comes back
/// follows the new settings.
#[tokio::test]
async fn a_change_does_not_disturb_what_is_in_use() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = open(&db, sized(5)).await;
    let mut held = pool.get().await.unwrap();
    let pid = held.backend_pid();
    let settings = pool
        .reconfigure(|settings| {
            settings.max = 3;
            settings.min_idle = 1;
            settings.max_lifetime = Some(Duration::from_millis(1));
        })
        .unwrap();
    assert_eq!((settings.max, pool.status().max), (3, 3));
    held.batch_execute("select 1").await.unwrap();
    assert_eq!(held.backend_pid(), pid);
    drop(held);
    wait_until("it is too old now", SOON, async || {
        pool.status().closed.by_age > 0
    })
    .await;
    pool.reconfigure(|settings| settings.max_lifetime = None)
        .unwrap();
    wait_until("one is kept ready", SOON, async || pool.status().idle == 1).await;
    let all = [
        pool.get().await.unwrap(),
        pool.get().await.unwrap(),
        pool.get().await.unwrap(),
    ];
    pool.reconfigure(|settings| settings.checkout_timeout = Duration::from_millis(50))
        .unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error, PoolError::Timeout { .. }), "{error}");
    drop(all);
    pool.rests().await;
}

/// req 3.28: a connection that comes back beyond max_idle is closed. When max_idle is lowered, surplus ones
/// are closed at once. The server confirms it.
#[tokio::test]
async fn no_more_than_max_idle_stay() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(5);
    profile.max_idle = Some(3);
    let pool = open(&db, profile).await;
    let held: Vec<_> = futures_util::future::join_all((0..5).map(|_| pool.get())).await;
    drop(held);
    let sessions = async || db.backends("app-db").await.unwrap().len();
    wait_until("three stay", SOON, async || sessions().await == 3).await;
    let status = pool.status();
    assert_eq!((status.idle, status.closed.by_max_idle), (3, 2));
    pool.reconfigure(|settings| settings.max_idle = Some(0))
        .unwrap();
    wait_until("none stays", SOON, async || sessions().await == 0).await;
    drop(pool.get().await.unwrap());
    wait_until("it is closed", SOON, async || sessions().await == 0).await;
    assert_eq!(pool.status().closed.by_max_idle, 6);
    pool.rests().await;
}

/// req 4.20: a pool with a rate limit refuses at once what is beyond it, says when to come again, and serves
/// later.
#[tokio::test]
async fn a_rate_limit_refuses_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(2);
    profile.rate_limit = Some(100);
    let pool = open(&db, profile).await;
    let callers = (0..1000).map(async |_| pool.get().await.err());
    let error = join_all(callers).await.into_iter().flatten().next();
    let error = error.unwrap();
    assert_eq!(error.kind(), Kind::Busy);
    let PoolError::RateLimited { limited, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(limited.per_second, 100);
    assert!(
        limited.retry_after <= Duration::from_millis(10),
        "{limited:?}"
    );
    assert!(pool.status().checkouts.refused > 0);
    wait_until("there is a token again", SOON, async || {
        pool.get().await.is_ok()
    })
    .await;
    pool.rests().await;
}
