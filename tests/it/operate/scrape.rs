//! A scrape while the server answers nobody.

use std::time::{Duration, Instant};

use db_observe::{MonitorOptions, Operations, Page};
use harness::{Cluster, ClusterOptions, TestDatabase, wait_until};

use super::ask;
use super::page::served;
use crate::SOON;
use crate::transaction::database;

/// It does not matter how many callers wait, and what else it is asked meanwhile.
const MOST: Duration = Duration::from_millis(100);

/// A server that is frozen holds up neither a scrape nor the page, while its pool is full, callers queue, and the
/// monitor waits for an answer.
#[tokio::test]
async fn a_frozen_server_holds_up_no_scrape() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let database = database(&db.url(), &[("APP_DB__POOLS__WRITE__MAX", "2")]).await;
    let mut often = MonitorOptions::default();
    often.interval = Duration::from_millis(20);
    let operations = Operations::of(&database)
        .interval(Duration::from_millis(10))
        .monitor(often)
        .fingerprints(50)
        .start();
    let base = served(Page::new(&operations).router()).await;
    let idle = database.get().await.unwrap();
    let mut busy = database.get().await.unwrap();
    let frozen = cluster.freeze().unwrap();
    let asking = tokio::spawn(async move { ask(&mut busy, "select 1").await });
    let callers: Vec<_> = (0..200).map(|_| tokio::spawn(database.get())).collect();
    wait_until("callers queue", SOON, async || {
        database.status()[0].waiting > 100
    })
    .await;

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["/metrics", "/status.json", "/"] {
        let mut fastest = Duration::MAX;
        // Other tests use the processor too. But a call that waits for the server would be much slower.
        for _ in 0..5 {
            let began = Instant::now();
            let answer = client.get(format!("{base}{path}")).send().await.unwrap();
            assert!(answer.text().await.unwrap().contains("write"), "{path}");
            fastest = fastest.min(began.elapsed());
        }
        assert!(fastest < MOST, "{path} took {fastest:?}");
    }

    frozen.thaw();
    drop(idle);
    asking.await.unwrap();
    for caller in callers {
        drop(caller.await.unwrap());
    }
    operations.stop().await;
}
