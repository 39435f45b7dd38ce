//! A pool whose size follows its load.

use std::time::Duration;

use db_observe::Operations;
use harness::{TestDatabase, wait_until};

use super::{rarely, run};
use crate::SOON;
use crate::database::Log;
use crate::transaction::database;

/// req 3.14, req 3.16, req 3.17, req 3.18, req 3.20: it grows while callers wait, never above its ceiling, shrinks
/// when they are
/// gone, and each change is logged with its cause. A pool of fixed size stays as it is.
#[tokio::test]
async fn an_adaptive_pool_follows_its_load() {
    let (log, _default) = Log::capture();
    let db = TestDatabase::empty().await.unwrap();
    let variables = [
        ("APP_DB__POOLS__WRITE__MAX", "2"),
        ("APP_DB__POOLS__WRITE__CEILING", "9"),
        ("APP_DB__POOLS__WRITE__MAX_IDLE", "2"),
        ("APP_DB__POOLS__WRITE__SIZING", "adaptive"),
        ("APP_DB__POOLS__FIXED__MAX", "2"),
    ];
    let database = database(&db.url(), &variables).await;
    let operations = Operations::of(&database)
        .interval(Duration::from_millis(10))
        .sizing_interval(Duration::from_millis(300))
        .monitor(rarely())
        .start();
    let (write, fixed) = (
        database.pool("write").unwrap(),
        database.pool("fixed").unwrap(),
    );
    let load = |pool: &app_db::Pool| {
        let pool = pool.clone();
        tokio::spawn(async move {
            loop {
                run(&pool, "select pg_sleep(0.02)").await;
            }
        })
    };
    let load: Vec<_> = (0..12).flat_map(|_| [load(write), load(fixed)]).collect();
    wait_until("it has grown to its ceiling", SOON * 3, async || {
        assert!(write.status().max <= 9);
        write.status().max == 9
    })
    .await;
    assert_eq!(fixed.status().max, 2);
    let settings = write.settings();
    assert!(settings.max_idle > Some(2), "{settings:?}");
    load.iter().for_each(tokio::task::JoinHandle::abort);
    wait_until("it has shrunk to its floor", SOON, async || {
        write.status().max == 5
    })
    .await;
    operations.stop().await;
    let text = log.text();
    assert!(text.contains("callers queued, and"), "{text}");
    assert!(text.contains("at most 0 of 9 were in use"), "{text}");
}
