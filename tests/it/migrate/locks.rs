//! Several migrators at once, and locks that others hold.

use std::time::{Duration, Instant};

use app_db::{EmbeddedMigration, Migrator};
use harness::{TestDatabase, wait_until};

use super::{migrator, server_state, table};

/// case R70
#[tokio::test]
async fn five_runners_that_start_together_apply_each_migration_once() {
    let database = TestDatabase::empty().await.unwrap();
    let slow = EmbeddedMigration::new("1_slow", "create table t1(); select pg_sleep(0.3)");
    let migrators: Vec<_> = (0..5)
        .map(|_| migrator(&database.url(), &[slow.clone(), table(2)]))
        .collect();

    let runs = futures_util::future::join_all(migrators.iter().map(Migrator::run)).await;
    let mut applied: Vec<_> = runs.into_iter().map(|run| run.unwrap().len()).collect();
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, 0, 2]);
    let (tables, versions) = server_state(&database).await;
    assert_eq!((tables.len(), versions.len()), (2, 2));
    wait_until("the lock is released", crate::SOON, async || {
        locks(&database).await == 0
    })
    .await;
}

async fn locks(database: &TestDatabase) -> i64 {
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    database.scalar(sql).await.unwrap()
}

#[tokio::test]
async fn waiting_for_another_migrator_ends_at_the_limit_and_names_it() {
    let database = TestDatabase::empty().await.unwrap();
    let slow = EmbeddedMigration::new("1_slow", "select pg_sleep(30)");
    let holder = migrator(&database.url(), &[slow]);
    let holding = tokio::spawn(async move { holder.run().await });
    wait_until("the lock is held", crate::SOON, async || {
        locks(&database).await == 1
    })
    .await;

    let started = Instant::now();
    let waiting = migrator(&database.url(), &[table(2)]).lock_wait(Duration::from_millis(600));
    let error = waiting.run().await.unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert!(error.to_string().contains("(app-db migrator)"), "{error}");

    // Dropping the holder's future ends its statement too, long before the 30 s are over.
    holding.abort();
    wait_until("the lock is released", crate::SOON, async || {
        locks(&database).await == 0
    })
    .await;
    assert_eq!(waiting.run().await.unwrap().len(), 1);
}

/// case R74
#[tokio::test]
async fn a_lock_that_cannot_be_had_is_tried_again_and_readers_do_not_queue() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(
        &database.url(),
        &[EmbeddedMigration::new("1_a", "create table t1()")],
    )
    .run()
    .await
    .unwrap();
    let reader = database.connect().await.unwrap();
    reader
        .batch_execute("BEGIN; LOCK TABLE t1 IN ACCESS SHARE MODE")
        .await
        .unwrap();

    let alter = EmbeddedMigration::new("2_alter", "alter table t1 add column a int");
    let migrator = migrator(&database.url(), &[alter]).lock_timeout(Duration::from_millis(100));
    let releasing = async {
        wait_until("the migration waits", crate::SOON, async || {
            let sql =
                "SELECT count(*) FROM pg_locks WHERE relation = 't1'::regclass AND NOT granted";
            database.scalar::<i64>(sql).await.unwrap() == 1
        })
        .await;
        let started = Instant::now();
        database.sql("SELECT count(*) FROM t1").await.unwrap();
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
        reader.batch_execute("COMMIT").await.unwrap();
    };
    let (applied, ()) = tokio::join!(migrator.run(), releasing);
    assert_eq!(applied.unwrap().len(), 1);
}
