//! An autovacuum that holds the table of a migration.

use std::time::{Duration, Instant};

use app_db::EmbeddedMigration;
use harness::{Cluster, ClusterOptions, TestDatabase, wait_until};

use super::{failed, migrator};

/// A server whose autovacuum begins at once and takes for ever, with a table that it works on.
async fn vacuumed(settings: &str) -> (Cluster, TestDatabase) {
    let options = ClusterOptions::default()
        .setting("autovacuum", "on")
        .setting("autovacuum_naptime", "1s")
        .setting("autovacuum_freeze_max_age", "100000");
    let cluster = Cluster::start(options).await.unwrap();
    let database = TestDatabase::empty_on(&cluster).await.unwrap();
    let migration = format!(
        "create table t1(a int, b text) with (autovacuum_vacuum_cost_delay = 100, \
         autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 0, \
         autovacuum_vacuum_scale_factor = 0 {settings}); \
         insert into t1 select a, repeat('x', 200) from generate_series(1, 30000) a; delete from t1"
    );
    let make = EmbeddedMigration::new("1_t1", migration);
    migrator(&database.url(), &[make]).run().await.unwrap();
    (cluster, database)
}

async fn works(database: &TestDatabase, query: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND query LIKE '{query}'"
    );
    wait_until(
        "the autovacuum works",
        Duration::from_secs(30),
        async || database.scalar::<i64>(&sql).await.unwrap() > 0,
    )
    .await;
}

fn alter() -> EmbeddedMigration {
    EmbeddedMigration::new("2_alter", "alter table t1 add column c int")
}

#[tokio::test]
async fn an_ordinary_one_is_passed_within_three_seconds() {
    let (_cluster, database) = vacuumed("").await;
    works(&database, "autovacuum: VACUUM %t1").await;
    let started = Instant::now();
    let applied = migrator(&database.url(), &[alter()]).run().await.unwrap();
    assert_eq!(applied.len(), 1);
    let elapsed = started.elapsed();
    assert!(
        elapsed > Duration::from_millis(500),
        "it was not in the way: {elapsed:?}"
    );
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
}

#[tokio::test]
async fn one_against_wraparound_is_named() {
    let (_cluster, database) = vacuumed(", autovacuum_enabled = off").await;
    // Only old rows let it work on a table for which it is off.
    database
        .sql("CREATE PROCEDURE age() LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..100500 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$")
        .await
        .unwrap();
    database.sql("CALL age()").await.unwrap();
    works(&database, "autovacuum: VACUUM %t1 (to prevent wraparound)").await;
    let migrator = migrator(&database.url(), &[alter()]).lock_retry(Duration::ZERO);
    let error = failed(migrator.run().await.unwrap_err());
    let blockers = error.waited.as_ref().unwrap().blockers.clone();
    assert!(
        blockers
            .iter()
            .any(|b| b.autovacuum && b.prevents_wraparound),
        "{blockers:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("autovacuum to prevent wraparound, which is never cancelled"),
        "{text}"
    );
}
