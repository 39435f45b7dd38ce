//! How long connections live: warmed up before the first request, replaced in time.

use db_pool::plumbing;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use app_db::Pool;
use harness::{TestDatabase, wait_until};

use crate::SOON;
use crate::at_rest::{open, watched};
use crate::pool::{sized, url};
use crate::transaction::database;

/// req 0.32: exactly the profile's idle connections exist before the first request.
#[tokio::test]
async fn a_database_is_warm_before_its_first_request() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[("APP_DB__PROFILE__MIN_IDLE", "6")]).await;
    let status = &database.status()[0];
    assert_eq!(
        (status.idle, status.open, status.connects.opened),
        (6, 6, 6)
    );
    // A session that has just ended may still be listed.
    wait_until("the server has these alone", SOON, async || {
        db.backends("app-db").await.unwrap().len() == 6
    })
    .await;
}

/// req 0.32: a server with fewer connections neither prevents the start of a service nor delays it
/// for long.
#[tokio::test]
async fn a_server_with_less_to_give_does_not_hold_the_start_up() {
    let db = TestDatabase::empty().await.unwrap();
    db.limit_connections(2).await.unwrap();
    let began = Instant::now();
    let database = database(&db.url(), &[("APP_DB__PROFILE__MIN_IDLE", "6")]).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    // The refusal of a third may have come before the second was through.
    wait_until("what the server gives is there", SOON, async || {
        database.status()[0].idle == 2
    })
    .await;
    db.limit_connections(20).await.unwrap();
    let pool = database.pool("write").unwrap();
    // An attempt from before may be refused still, which ends the first wait.
    wait_until("the rest is there", SOON, async || pool.warm_up(SOON).await).await;
    assert_eq!(db.backends("app-db").await.unwrap().len(), 6);
}

/// Warming up ends if the pool is closed meanwhile, or if its server is gone.
#[tokio::test]
async fn warming_up_in_vain_ends() {
    let mut profile = sized(5);
    profile.min_idle = 3;
    let nowhere = Pool::connect_lazy(url("postgres://u:p@127.0.0.1:1/d"), profile.clone());
    let began = Instant::now();
    assert!(!nowhere.warm_up(SOON).await);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let address = format!("postgres://u:p@127.0.0.1:{port}/d");
    let hangs = Pool::connect_lazy(url(&address), profile);
    assert!(!hangs.warm_up(Duration::from_millis(100)).await);
    let (warmed, ()) = tokio::join!(hangs.warm_up(SOON), async { plumbing::begin_close(&hangs) });
    assert!(!warmed);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// case R09; req 2.05: connections with as many uses are not all replaced at the same time.
#[tokio::test]
async fn the_last_uses_of_connections_are_spread() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(1);
    profile.max_uses = 100;
    let pool = watched(&db, Pool::connect_lazy(url(&db.url()), profile));
    let mut uses = BTreeMap::<i32, u32>::new();
    while uses.len() < 8 {
        let conn = pool.get().await.unwrap();
        *uses.entry(conn.backend_pid()).or_default() += 1;
        assert!(pool.status().open <= 1);
        drop(conn);
    }
    let last = pool.get().await.unwrap().backend_pid();
    uses.remove(&last);
    let counts: Vec<_> = uses.into_values().collect();
    assert!(
        counts.iter().all(|count| (75..=100).contains(count)),
        "{counts:?}"
    );
    assert!(counts.iter().any(|count| *count != counts[0]), "{counts:?}");
    pool.rests().await;
}

/// case R09: an idle connection that is too old is replaced in the same round of the keeper.
#[tokio::test]
async fn an_old_idle_connection_is_replaced_before_it_is_missed() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(6);
    profile.min_idle = 2;
    // The keeper looks every second, and would not be woken in between.
    profile.max_lifetime = Some(Duration::from_secs(5));
    let pool = open(&db, profile).await;
    assert!(pool.warm_up(SOON).await);
    let mut missed = Duration::ZERO;
    let mut since = None;
    wait_until("both have been replaced", 2 * SOON, async || {
        let status = pool.status();
        assert!(status.open <= 6, "{status:?}");
        since = match status.idle {
            2.. => None,
            _ => since.or(Some(Instant::now())),
        };
        missed = missed.max(since.map_or(Duration::ZERO, |at| at.elapsed()));
        status.closed.by_age >= 2 && status.idle == 2
    })
    .await;
    // The next round would be a second later.
    assert!(missed < Duration::from_secs(1), "{missed:?}");
    pool.rests().await;
}

/// case R10: while the keeper looks for stale connections, callers still find the idle ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_idle_connection_is_missed_while_the_keeper_looks() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(8);
    profile.min_idle = 8;
    profile.max_uses = 0;
    // The keeper looks every 50 ms, some forty times in the time below.
    profile.idle_timeout = Some(Duration::from_millis(100));
    let pool = open(&db, profile).await;
    assert!(pool.warm_up(SOON).await);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        drop(pool.get_timeout(Duration::ZERO).await.unwrap());
    }
    assert_eq!(pool.status().connects.opened, 8);
    pool.rests().await;
}
