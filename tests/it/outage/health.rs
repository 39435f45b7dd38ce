//! Health tells a server that answers nobody from a pool that is busy, and in time.

use std::time::Duration;

use app_db::{Database, Health, Kind};
use harness::{Cluster, ClusterOptions, TestDatabase, wait_until};
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::{Watched, watched};
use crate::transaction::database;

const VALIDATION_TIMEOUT: Duration = Duration::from_millis(400);

async fn on_a_private_cluster(more: &[(&str, &str)]) -> (Cluster, TestDatabase, Watched<Database>) {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let mut vars = vec![("APP_DB__PROFILE__VALIDATION_TIMEOUT", "400ms")];
    vars.extend_from_slice(more);
    let database = watched(&db, database(&db.url(), &vars).await);
    (cluster, db, database)
}

/// The probe's answer, which takes no longer than twice the validation timeout.
async fn probe(database: &Database) -> Health {
    // The timer runs in the same runtime: a busy machine delays both, and the probe goes first.
    let most = VALIDATION_TIMEOUT * 2 + Duration::from_millis(250);
    timeout(most, database.health())
        .await
        .unwrap_or_else(|_elapsed| panic!("no answer within {most:?}"))
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

/// case F9; req 2.26: a pool with every connection at work cannot tell; a login beside it can.
#[tokio::test]
async fn a_frozen_server_is_not_ready_with_every_connection_at_work() {
    for checkout_timeout in ["400ms", "10s"] {
        let more = [
            ("APP_DB__PROFILE__MAX", "2"),
            ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", checkout_timeout),
        ];
        let (cluster, _db, database) = on_a_private_cluster(&more).await;
        // The probes log in beside the pool.
        let database = database.with_sessions(4);
        let held = [database.get().await.unwrap(), database.get().await.unwrap()];
        let busy = probe(&database).await;
        assert!(busy.is_ready(), "a busy pool is not ill: {busy:?}");
        let frozen = cluster.freeze().unwrap();
        assert_down_until_thawed(&database, frozen).await;
        drop(held);
        // What the probes opened beside the pool does not stay.
        database.rests().await;
    }
}

/// faults 7: health and status are data, for a probe over HTTP.
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
