//! Health tells a server that answers nobody from a pool that is busy, and in time.

use std::time::Duration;

use app_db::{Database, Health, Kind};
use harness::{Cluster, ClusterOptions, Fault, Proxy, TestDatabase, wait_until};
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::{Watched, watched};
use crate::transaction::database;

/// How long health may take, however full or slow a pool is.
const MOST: Duration = Duration::from_millis(250);

async fn on_a_private_cluster(more: &[(&str, &str)]) -> (Cluster, TestDatabase, Watched<Database>) {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let mut vars = vec![("APP_DB__PROFILE__VALIDATION_TIMEOUT", "400ms")];
    vars.extend_from_slice(more);
    // A probe has a session beside the pool, and a new one where that one is silent.
    let database = watched(&db, database(&db.url(), &vars).await).with_sessions(4);
    (cluster, db, database)
}

/// The probe's answer, which takes no longer than 250 ms.
async fn probe(database: &Database) -> Health {
    timeout(MOST, database.health())
        .await
        .unwrap_or_else(|_elapsed| panic!("no answer within {MOST:?}"))
}

async fn assert_down_until_thawed(database: &Database, frozen: harness::Frozen) {
    for _ in 0..2 {
        let health = probe(database).await;
        assert!(!health.is_ready(), "{health:?}");
        let error = health.write.error.as_ref().unwrap();
        assert_eq!(error.kind(), Kind::Down, "{error:?}");
    }
    frozen.thaw();
    wait_until("it is ready again", SOON, async || {
        database.health().await.is_ready()
    })
    .await;
}

/// case F9; req 2.26: the idle connection is fresh, so that the probe's own statement finds out.
#[tokio::test]
async fn a_frozen_server_is_not_ready_with_a_fresh_connection() {
    let (cluster, _db, database) = on_a_private_cluster(&[]).await;
    drop(database.get().await.unwrap());
    assert!(probe(&database).await.is_ready());
    let frozen = cluster.freeze().unwrap();
    assert_down_until_thawed(&database, frozen).await;
    database.rests().await;
}

/// case F9; req 2.26: the idle connection is stale, so that its ping finds out.
#[tokio::test]
async fn a_frozen_server_is_not_ready_with_a_stale_connection() {
    let stale_at_once = ("APP_DB__PROFILE__VALIDATE_AFTER", "0s");
    let (cluster, _db, database) = on_a_private_cluster(&[stale_at_once]).await;
    drop(database.get().await.unwrap());
    let frozen = cluster.freeze().unwrap();
    assert_down_until_thawed(&database, frozen).await;
    database.rests().await;
}

/// case F9; req 2.26: a pool with every connection at work cannot tell; a session beside it can.
#[tokio::test]
async fn a_frozen_server_is_not_ready_with_every_connection_at_work() {
    for checkout_timeout in ["400ms", "10s"] {
        let more = [
            ("APP_DB__PROFILE__MAX", "2"),
            ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", checkout_timeout),
        ];
        let (cluster, _db, database) = on_a_private_cluster(&more).await;
        let held = [database.get().await.unwrap(), database.get().await.unwrap()];
        let busy = probe(&database).await;
        assert!(busy.is_ready(), "a busy pool is not ill: {busy:?}");
        let frozen = cluster.freeze().unwrap();
        assert_down_until_thawed(&database, frozen).await;
        drop(held);
        database.rests().await;
    }
}

/// Health and status are data, for a probe over HTTP.
#[tokio::test]
async fn health_is_written_for_machines() {
    let (_cluster, _db, database) = on_a_private_cluster(&[]).await;
    let health = serde_json::to_value(probe(&database).await).unwrap();
    assert_eq!(health["ready"], true);
    assert_eq!(health["write"]["pool"], "write");
    assert_eq!(health["write"]["error"], serde_json::Value::Null);
    assert!(health["write"]["latency"].as_f64().unwrap() > 0.0);
    assert_eq!(health["write"]["status"]["breaker"], "closed");
    assert!(health["write"]["status"]["connects"]["times"]["p50"].is_f64());
    database.rests().await;
}

/// However many callers wait, a probe takes no place in the queue and no connection, and uses the same session
/// again.
#[tokio::test]
async fn a_full_pool_is_ready_in_time() {
    let db = TestDatabase::empty().await.unwrap();
    let more = [
        ("APP_DB__PROFILE__MAX", "2"),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "10s"),
    ];
    let database = watched(&db, database(&db.url(), &more).await).with_sessions(3);
    assert!(probe(&database).await.is_ready());
    let held = [database.get().await.unwrap(), database.get().await.unwrap()];
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let database = Database::clone(&database);
            tokio::spawn(async move { drop(database.get().await.unwrap()) })
        })
        .collect();
    wait_until("all of them wait", SOON, async || {
        database.status()[0].waiting == 20
    })
    .await;
    let sessions = async || db.backends("app-db").await.unwrap();
    let all = sessions().await;
    for _ in 0..5 {
        let health = probe(&database).await;
        assert!(health.is_ready(), "{health:?}");
        assert_eq!(
            (health.write.status.waiting, health.write.status.in_use),
            (20, 2)
        );
    }
    let pids = |sessions: Vec<harness::Backend>| sessions.into_iter().map(|one| one.pid);
    assert!(
        pids(sessions().await).eq(pids(all)),
        "no probe has logged in again"
    );
    drop(held);
    for waiting in waiting {
        waiting.await.unwrap();
    }
    database.rests().await;
}

/// If every answer takes longer than a probe may, the probe says so in time, and no connection is lost.
#[tokio::test]
async fn a_slow_server_is_told_from_a_fast_one_in_time() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let more = [("APP_DB__PROFILE__VALIDATION_TIMEOUT", "5s")];
    let url = db.proxied_url(&proxy);
    let database = watched(&db, database(&url, &more).await).with_sessions(4);
    assert!(probe(&database).await.is_ready());
    proxy.set(Fault::Delay(MOST * 2)).await;
    let health = probe(&database).await;
    let error = health.write.error.as_ref().unwrap();
    assert_eq!(error.kind(), Kind::Down, "{error}");
    proxy.set(Fault::None).await;
    wait_until("it is ready again", SOON, async || {
        probe(&database).await.is_ready()
    })
    .await;
    assert_eq!(database.status()[0].closed.discarded, 0);
    database.rests().await;
}

/// A server that refuses the probe because it is full of the pool's own connections has answered.
#[tokio::test]
async fn a_server_full_of_our_own_connections_is_no_reason_to_leave() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[("APP_DB__PROFILE__MAX", "2")]).await;
    let held = [database.get().await.unwrap(), database.get().await.unwrap()];
    db.limit_connections(2).await.unwrap();
    let health = database.health().await;
    assert!(health.is_ready(), "{health:?}");
    drop(held);
}

/// Reads do not fall back to the primary: if no pool for reads can open, the service cannot serve them. One of
/// two replicas is enough.
#[tokio::test]
async fn readiness_needs_a_pool_that_reads_can_run_on() {
    let db = TestDatabase::empty().await.unwrap();
    let nowhere = "postgres://u:p@127.0.0.1:1/d";
    for (replicas, is_ready) in [
        (nowhere.to_owned(), false),
        (db.missing_url(), false),
        (format!("{nowhere},{nowhere}"), false),
        (format!("{nowhere},{}", db.url()), true),
        (db.url(), true),
    ] {
        let more = [("DATABASE_URL_REPLICA", &*replicas)];
        let database = database(&db.url(), &more).await;
        wait_until("it is as it should be", SOON, async || {
            probe(&database).await.is_ready() == is_ready
        })
        .await;
        let health = probe(&database).await;
        assert_eq!(health.is_ready(), is_ready, "{health:?}");
        assert!(health.write.is_healthy());
    }

    // Other pools are looked at, and do not count.
    let more = [
        ("APP_DB__POOLS__BATCH__VIA", "direct"),
        ("DATABASE_URL_DIRECT", nowhere),
    ];
    let database = database(&db.url(), &more).await;
    let _batch = database.pool("batch").unwrap();
    let health = probe(&database).await;
    assert!(
        health.is_ready() && !health.others[0].is_healthy(),
        "{health:?}"
    );
}
