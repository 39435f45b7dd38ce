//! What a checkout costs, whose turn it is, and when a place is free again.

use db_pool::plumbing;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use app_db::Pool;
use diesel_async::SimpleAsyncConnection;
use harness::{Cluster, ClusterOptions, Fault, Proxy, TestDatabase, wait_until};
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::open;
use crate::pool::{sized, url};

/// case R01, case F10: the first caller is served first.
#[tokio::test]
async fn a_full_pool_serves_its_callers_in_the_order_of_their_arrival() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = open(&db, sized(2)).await;
    let held = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut callers = Vec::new();
    for nth in 0..12 {
        let (pool_of_caller, served) = (pool.clone(), Arc::clone(&served));
        callers.push(tokio::spawn(async move {
            let conn = pool_of_caller.get().await.unwrap();
            served.lock().unwrap().push(nth);
            tokio::task::yield_now().await;
            drop(conn);
        }));
        wait_until("it is in the queue", SOON, async || {
            pool.status().waiting == nth + 1
        })
        .await;
    }
    // Only one of the two goes back: with one connection in circulation the order is exact.
    let [first, stays] = held;
    drop(first);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(*served.lock().unwrap(), (0..12).collect::<Vec<_>>());
    assert_eq!(
        (pool.status().waiting, pool.status().connects.opened),
        (0, 2)
    );
    drop(stays);
    pool.rests().await;
}

/// case F11: a caller that gives up in the middle of its checkout leaves its connection to the next one.
#[tokio::test]
async fn a_checkout_given_up_does_not_cost_the_next_caller_anything() {
    let db = TestDatabase::empty().await.unwrap();
    // No other connection can be opened to replace a lost one.
    db.limit_connections(1).await.unwrap();
    let pool = open(&db, sized(2)).await;
    // Nothing reports the idle time, so the test has to wait for the time itself.
    tokio::time::sleep(LONGER_THAN_IN_STEADY_USE).await;
    let mut gives_up = Box::pin(pool.get());
    assert!(futures_util::poll!(&mut gives_up).is_pending());
    assert_eq!(pool.status().idle, 0, "it has the connection in hand");
    let mut next = Box::pin(pool.get());
    assert!(futures_util::poll!(&mut next).is_pending());
    drop(gives_up);
    drop(next.await.unwrap());
    let status = pool.status();
    assert_eq!((status.connects.opened, status.closed.discarded), (1, 0));
    assert_eq!((status.connects.failed, status.checkouts.timed_out), (0, 0));
    db.limit_connections(2).await.unwrap();
    pool.rests().await;
}

/// From this idle time on a checkout looks at the socket first, and can be given up there.
const LONGER_THAN_IN_STEADY_USE: Duration = Duration::from_millis(5);

/// A connection that was used recently is handed out without a round trip; a stale one is pinged.
#[tokio::test]
async fn a_fresh_connection_is_handed_out_without_a_round_trip() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    for (validate_after, pinged) in [(SOON, false), (Duration::ZERO, true)] {
        let mut profile = sized(1);
        profile.validate_after = validate_after;
        profile.validation_timeout = SOON;
        let pool = Pool::connect(url(&db.proxied_url(&proxy)), profile)
            .await
            .unwrap();
        let mut conn = pool.get().await.unwrap();
        conn.batch_execute("select 'the last word'").await.unwrap();
        let pid = conn.backend_pid();
        drop(conn);
        // Nothing passes, so everything that needs an answer waits.
        proxy.set(Fault::HoldReplies).await;
        let at_once = timeout(Duration::from_millis(200), pool.get()).await;
        assert_eq!(
            at_once.is_err(),
            pinged,
            "validate_after {validate_after:?}"
        );
        let last_word = async || {
            let backends = db.backends("app-db").await.unwrap();
            let backend = backends.into_iter().find(|backend| backend.pid == pid);
            backend.is_some_and(|backend| backend.query == "select 'the last word'")
        };
        assert_eq!(last_word().await, !pinged);
        proxy.set(Fault::None).await;
    }
}

/// case F1: a connection that is being closed counts until the server has closed it.
#[tokio::test]
async fn a_place_is_free_when_the_server_has_closed_the_session() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let pool = open(&db, sized(1)).await;
    let mut conn = pool.get().await.unwrap();
    let pid = conn.backend_pid();
    let sleeping = conn.batch_execute("select pg_sleep(25)");
    timeout(Duration::from_millis(50), sleeping)
        .await
        .unwrap_err();
    let frozen = cluster.freeze_backend(pid);
    drop(conn);
    let next = pool.get();
    let mut next = std::pin::pin!(next);
    timeout(Duration::from_millis(500), &mut next)
        .await
        .expect_err("the server is still at it");
    assert_eq!((pool.status().in_use, pool.status().open), (0, 1));
    assert_eq!(db.backends("app-db").await.unwrap().len(), 1);
    frozen.thaw();
    let next = timeout(Duration::from_secs(2), next)
        .await
        .unwrap()
        .unwrap();
    assert_ne!(next.backend_pid(), pid);
    assert_eq!(db.backends("app-db").await.unwrap().len(), 1);
    drop(next);
    pool.rests().await;
}

/// case R09: connections made together do not end together, nor while somebody holds them.
#[tokio::test]
async fn the_ends_of_connections_made_together_are_spread() {
    const COUNT: u32 = 20;
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(COUNT);
    profile.max_lifetime = Some(Duration::from_secs(2));
    // All are needed, so none is closed for idleness. But the keeper checks every 50 ms.
    profile.min_idle = COUNT;
    profile.idle_timeout = Some(Duration::from_millis(200));
    let pool = open(&db, profile).await;
    let mut held = Vec::new();
    for _ in 0..COUNT {
        held.push(pool.get().await.unwrap());
    }
    let kept = held.pop().unwrap();
    held.clear();

    let admin = db.admin().await.unwrap();
    let living = async || {
        let rows = admin
            .query(
                "select pid, extract(epoch from clock_timestamp() - backend_start)::float8 \
                 from pg_stat_activity \
                 where datname = current_database() and application_name = 'app-db'",
                &[],
            )
            .await
            .unwrap();
        let ages = rows.iter().map(|row| (row.get(0), row.get(1)));
        ages.collect::<BTreeMap<i32, f64>>()
    };
    let mut ages = living().await;
    assert_eq!(ages.len(), COUNT as usize);
    ages.remove(&kept.backend_pid());
    wait_until("all but the one in use have ended", SOON, async || {
        let now = living().await;
        assert!(now.len() <= COUNT as usize, "{} are open", now.len());
        let mut some_live = false;
        for (pid, age) in &mut ages {
            if let Some(present) = now.get(pid) {
                *age = *present;
                some_live = true;
            }
        }
        !some_live
    })
    .await;
    let (shortest, longest) = ages
        .values()
        .fold((f64::MAX, 0.0_f64), |(least, most), age| {
            (least.min(*age), most.max(*age))
        });
    assert!(shortest > 1.4, "{shortest} s is less than three quarters");
    assert!(longest - shortest > 0.2, "from {shortest} s to {longest} s");
    assert!(!plumbing::observed(&kept).is_closed());
    drop(kept);
    pool.rests().await;
}

/// The connection that was returned last is handed out first, so a pool with little work keeps few
/// sessions warm.
#[tokio::test]
async fn the_latest_returned_is_the_next_to_go() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), sized(3)).await.unwrap();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(Some(pool.get().await.unwrap()));
        }
        let mut returned = Vec::new();
        for nth in order {
            let conn = held[nth].take().unwrap();
            returned.push(conn.backend_pid());
        }
        while let Some(pid) = returned.pop() {
            let conn = pool.get().await.unwrap();
            assert_eq!(conn.backend_pid(), pid);
            held.push(Some(conn));
        }
    }
    assert_eq!(db.backends("app-db").await.unwrap().len(), 3);
}

/// A clean checkout costs no round trip: not one byte is sent between the statements of two holders.
#[tokio::test]
async fn a_clean_checkout_sends_nothing() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), sized(1)).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("select 1").await.unwrap();
    let observed = Arc::clone(plumbing::observed(&conn));
    let bytes = || (observed.bytes_sent(), observed.bytes_received());
    drop(conn);
    let before = bytes();
    for _ in 0..100 {
        drop(pool.get().await.unwrap());
    }
    let conn = pool.get().await.unwrap();
    assert!(Arc::ptr_eq(plumbing::observed(&conn), &observed));
    assert_eq!(bytes(), before);
}
