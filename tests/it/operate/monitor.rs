//! The monitor against servers that are there, full, behind and gone.

use std::time::Duration;

use db_observe::{Monitor, MonitorOptions};
use harness::{Cluster, ClusterOptions, Stop, TestDatabase, wait_until};

use crate::SOON;
use crate::transaction::database;

fn every(interval: Duration, history: usize) -> MonitorOptions {
    let mut options = MonitorOptions::default();
    (options.interval, options.history) = (interval, history);
    options
}

/// req 2.26, req 2.27, req 2.41, req 2.42, req 2.43, req 2.48, req 3.19, req 3.31: the first look at once, also at
/// a pool whose connections are all in use; then at the interval. The last hundred samples are kept.
#[tokio::test]
async fn the_first_look_is_at_once_and_a_hundred_are_kept() {
    let defaults = MonitorOptions::default();
    assert_eq!(
        (defaults.interval, defaults.history),
        (Duration::from_secs(60), 100)
    );
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[("APP_DB__POOLS__WRITE__MAX", "1")]).await;
    let held = database.get().await.unwrap();
    let slow = Monitor::new(&database, defaults);
    assert!(slow.samples("write").is_empty() && slow.summary("write").is_none());
    assert!(slow.latest("write").is_none());
    slow.start();
    wait_until("the first sample", SOON, async || {
        slow.latest("write").is_some()
    })
    .await;
    let sample = slow.latest("write").unwrap();
    let figures = sample.figures().unwrap();
    assert_eq!(
        (figures.total, figures.active, figures.idle, figures.waiting),
        (1, 1, 0, 0)
    );
    assert!(!figures.response_time.is_zero() && figures.connect_time > figures.response_time);
    drop(held);
    slow.stop().await;
    assert_eq!(slow.samples("write").len(), 1);

    let quick = Monitor::new(&database, every(Duration::from_millis(1), 100));
    quick.start();
    // Once more does nothing.
    quick.start();
    wait_until("a hundred samples", SOON * 3, async || {
        quick.samples("write").len() == 100
    })
    .await;
    let first = quick.samples("write")[0].at;
    wait_until("the oldest goes", SOON, async || {
        quick.samples("write")[0].at > first
    })
    .await;
    assert_eq!(quick.samples("write").len(), 100);
    quick.stop().await;
    let summary = quick.summary("write").unwrap();
    assert_eq!((summary.total_samples, summary.valid_samples), (100, 100));
    assert_eq!(summary.error_rate, 0.0);
    assert!(summary.max_response_time >= summary.min_response_time);
    let last = quick.latest("write").unwrap().at;
    // It has stopped, and can be started again.
    quick.start();
    wait_until("it goes on", SOON, async || {
        quick.latest("write").unwrap().at > last
    })
    .await;
    quick.stop().await;
}

/// req 2.44, req 2.49: a look at a server that is gone is a sample with its error. If there are only such samples,
/// the error rate is one.
#[tokio::test]
async fn a_failed_look_is_a_sample() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let database = database(&db.url(), &[]).await;
    cluster.stop(Stop::Immediate).await.unwrap();
    let monitor = Monitor::new(&database, MonitorOptions::default());
    monitor.look().await;
    monitor.look().await;
    let sample = monitor.latest("write").unwrap();
    let failure = sample.outcome.unwrap_err();
    assert!(
        failure.is_connection_error && failure.error.contains("not reachable"),
        "{failure:?}"
    );
    assert!(!failure.error.contains(&db.password()));
    let summary = monitor.summary("write").unwrap();
    assert_eq!(
        (
            summary.total_samples,
            summary.valid_samples,
            summary.error_rate
        ),
        (2, 0, 1.0)
    );
    assert!(summary.means.is_none() && summary.max_response_time.is_none());
}

/// A replica's lag is measured, and a primary has none.
#[tokio::test]
async fn a_replica_has_a_lag_and_a_primary_has_none() {
    let primary = Cluster::start(ClusterOptions::default()).await.unwrap();
    let standby = primary.replica("lagging").await.unwrap();
    let db = TestDatabase::empty_on(&primary).await.unwrap();
    standby.caught_up_with(&primary).await.unwrap();
    let replica = harness::through_port(&db.url(), standby.port());
    let database = database(&db.url(), &[("DATABASE_URL_REPLICA", &replica)]).await;
    let monitor = Monitor::new(&database, MonitorOptions::default());
    monitor.look().await;
    let lag = |pool: &str| monitor.latest(pool).unwrap().figures().unwrap().replica_lag;
    assert_eq!(lag("write"), None);
    assert_eq!(lag("read"), Some(Duration::ZERO));
    let exporter = db_observe::Exporter::new(&database, Some(&monitor));
    let text = exporter.encode(db_observe::Format::Prometheus);
    assert!(
        text.contains("app_db_replica_lag_seconds{pool=\"read\"} 0"),
        "{text}"
    );
    assert!(!text.contains("app_db_replica_lag_seconds{pool=\"write\"}"));
}
