//! A server that comes back is found soon, and is not flooded with logins.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use app_db::{Pool, PoolError, SqlState};
use db_pool::{ConnectFailure, ConnectStage};
use diesel_async::SimpleAsyncConnection;
use harness::{Cluster, ClusterOptions, Stop, TestDatabase, wait_until};

use crate::SOON;
use crate::at_rest::{open, watched};
use crate::pool::{sized, url};

/// A cluster whose log names its clients, and on which no other client is called `app-db`.
async fn logging() -> Cluster {
    let options = ClusterOptions::default()
        .max_connections(100)
        .setting("log_connections", "on")
        .setting("log_line_prefix", "%p %u ");
    Cluster::start(options).await.unwrap()
}

/// case R05: nobody asks during the outage. The first caller afterwards does not notice it.
#[tokio::test]
async fn the_first_borrower_after_an_outage_sees_no_error() {
    let cluster = logging().await;
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let mut profile = sized(10);
    profile.min_idle = 3;
    let pool = open(&db, profile).await;
    assert!(pool.warm_up(SOON).await);
    cluster.stop(Stop::Immediate).await.unwrap();
    // The keeper's delay is two to four seconds by then.
    wait_until("the keeper has tried three times", SOON, async || {
        pool.status().connects.failed >= 3
    })
    .await;
    cluster.start_again().await.unwrap();
    let back = Instant::now();
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("select 1").await.unwrap();
    let took = back.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop(conn);
    wait_until("three are ready again", SOON, async || {
        pool.status().idle == 3
    })
    .await;
    pool.rests().await;
}

/// case R08, req 0.14: a server that is starting up refuses for seconds; it is asked a few times and not in a
/// loop.
#[tokio::test]
async fn a_server_that_is_starting_up_is_asked_now_and_then() {
    let cluster = logging().await;
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let impatient = db.add_role().await.unwrap();
    let mut profile = sized(20);
    profile.min_idle = 5;
    profile.checkout_timeout = Duration::from_secs(20);
    let least_delay = profile.reconnect.base_delay / 2;
    let pool = open(&db, profile).await;
    // It looks for an archive, which takes it a second for each file, before it lets anybody in.
    cluster
        .set("restore_command", "sleep 1; false")
        .await
        .unwrap();
    cluster.stop(Stop::Fast).await.unwrap();
    let signal = cluster.folder().join("data/recovery.signal");
    std::fs::write(signal, "").unwrap();
    let before = cluster.log_text().len();
    let mut hasty = sized(1);
    hasty.application_name = "hasty".to_owned();
    hasty.checkout_timeout = Duration::from_millis(50);
    let hasty = watched(&db, Pool::connect_lazy(url(&db.url_as(&impatient)), hasty));
    let told = wait_until(
        "who does not wait that long is told why",
        SOON,
        async || {
            let refused = hasty.get().await.err();
            let cause = refused.as_ref().and_then(PoolError::connect_error);
            cause.is_some_and(|cause| {
                cause.failure() == ConnectFailure::Unavailable
                    && cause.stage() == ConnectStage::Login
                    && cause.sqlstate() == Some(&SqlState::CANNOT_CONNECT_NOW)
            })
        },
    );
    let starting = async {
        cluster.start_again().await.unwrap();
        Instant::now()
    };
    let waiting = futures_util::future::join_all((0..15).map(|_| async {
        drop(pool.get().await.unwrap());
        Instant::now()
    }));
    let began = Instant::now();
    let (answered, served, ()) = tokio::join!(starting, waiting, told);
    let last = served.into_iter().max().unwrap();
    let took = last.saturating_duration_since(answered);
    assert!(took < Duration::from_secs(2), "{took:?}");

    let log = cluster.log_text().split_off(before);
    let role = db.role().name();
    let refused = |line: &&str| line.contains(role) && line.contains("is starting up");
    let refusals = log.lines().filter(refused).count();
    let down_for = answered - began;
    assert!(down_for > Duration::from_secs(2), "{down_for:?}");
    assert!(refusals >= 1, "nobody was refused in {down_for:?}");
    // Eight may have been on their way before the first was refused; each later one waits for its delay.
    let most = 8 + down_for.as_millis().div_ceil(least_delay.as_millis());
    let failed = u128::from(pool.status().connects.failed);
    assert!(failed <= most, "{failed} attempts in {down_for:?}");
    pool.rests_with(hasty).await;
}

/// If many callers wait for a server that is back, they log in a few at a time.
#[tokio::test]
async fn a_herd_of_callers_logs_in_a_few_at_a_time() {
    const HERD: usize = 50;
    let cluster = logging().await;
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let mut profile = sized(HERD as u32);
    profile.checkout_timeout = Duration::from_secs(30);
    let pool = Pool::connect(url(&db.url()), profile).await.unwrap();
    cluster.stop(Stop::Immediate).await.unwrap();
    let waiting: Vec<_> = (0..HERD).map(|_| tokio::spawn(pool.get())).collect();
    wait_until("connecting has failed", SOON, async || {
        pool.status().connects.failed >= 2
    })
    .await;
    let before = cluster.log_text().len();
    cluster.start_again().await.unwrap();
    let back = Instant::now();
    let mut held = Vec::new();
    for caller in waiting {
        held.push(caller.await.unwrap().unwrap());
    }
    let took = back.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(db.backends("app-db").await.unwrap().len(), HERD);

    let log = cluster.log_text().split_off(before);
    let (mut under_way, mut most, mut logins) = (0_i32, 0, 0);
    for line in log.lines() {
        if line.contains("connection received") {
            under_way += 1;
            most = most.max(under_way);
        } else if line.contains("connection authorized") {
            under_way -= 1;
            logins += usize::from(line.contains(db.role().name()));
        } else if line.contains("FATAL") {
            under_way -= 1;
        }
    }
    assert_eq!(logins, HERD, "each login is for somebody");
    // Eight of the pool's, and one of the test's own.
    assert!(most <= 9, "{most} logins at a time");
}

/// Callers of a pool that has made nothing yet are served soon, although its logins are paced.
#[tokio::test]
async fn a_cold_pool_serves_a_crowd_soon() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(10);
    profile.checkout_timeout = 2 * SOON;
    let pool = Pool::connect_lazy(url(&db.url()), profile);
    let crowd: Vec<_> = (0..200)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut conn = pool.get().await.unwrap();
                conn.batch_execute("select pg_sleep(0.02)").await.unwrap();
                conn.backend_pid()
            })
        })
        .collect();
    let mut served = BTreeMap::<i32, u32>::new();
    for caller in crowd {
        *served.entry(caller.await.unwrap()).or_default() += 1;
    }
    // Ten logins one after the other would leave most of the work to the first few.
    assert_eq!(pool.status().connects.opened, 10, "{:?}", pool.status());
    assert!(served.values().all(|callers| *callers < 100), "{served:?}");
}
