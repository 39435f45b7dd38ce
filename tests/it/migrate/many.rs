//! Thirty instances of a service start together.

use std::process::Stdio;
use std::time::{Duration, Instant};

use app_db::{EmbeddedMigration, Migrator};
use harness::{TestDatabase, wait_until};

use super::{migrator, server_state};
use crate::dbctl::Dbctl;

#[tokio::test]
async fn when_the_runner_of_thirty_is_killed_another_goes_on() {
    let database = TestDatabase::empty().await.unwrap();
    let sql = "create table t1(); select case when to_regclass('go') is null then pg_sleep(60) end";
    let dbctl = Dbctl::with_migration(&database, "1_slow", sql);
    let mut runner = dbctl
        .command("migrate run")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the first runs", crate::SOON, async || {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'select case%'";
        database.scalar::<i64>(asleep).await.unwrap() == 1
    })
    .await;

    let migration = EmbeddedMigration::new("1_slow", sql);
    let others: Vec<_> = (0..29)
        .map(|_| migrator(&database.url(), std::slice::from_ref(&migration)))
        .collect();
    let killing = async {
        let sessions = "SELECT count(*) FROM pg_stat_activity \
                        WHERE datname = current_database() AND application_name = 'app-db migrator'";
        wait_until("all wait", crate::SOON, async || {
            database.scalar::<i64>(sessions).await.unwrap() >= 30
        })
        .await;
        database
            .sql("CREATE TABLE go(); GRANT ALL ON go TO PUBLIC")
            .await
            .unwrap();
        runner.kill().await.unwrap();
        Instant::now()
    };
    let running = futures_util::future::join_all(others.iter().map(Migrator::run));
    let (runs, killed) = tokio::join!(running, killing);
    assert!(
        killed.elapsed() < Duration::from_secs(30),
        "{:?}",
        killed.elapsed()
    );
    let applied: Vec<usize> = runs.into_iter().map(|run| run.unwrap().len()).collect();
    assert_eq!(applied.iter().sum::<usize>(), 1);
    assert_eq!(
        server_state(&database).await,
        (vec!["t1".to_owned()], vec!["1".to_owned()])
    );
}
