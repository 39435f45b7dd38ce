//! Sessions that are in the way of a migration: named, waited for, ended.

use std::time::{Duration, Instant};

use app_db::EmbeddedMigration;
use harness::{TestDatabase, wait_until};
use tokio_postgres::Client;

use super::{failed, migrator, server_state, table};
use crate::captured::{Captured, Entry};

/// A table, and a session that holds it.
async fn held(database: &TestDatabase) -> Client {
    migrator(&database.url(), &[table(1)]).run().await.unwrap();
    let holder = database.connect().await.unwrap();
    holder
        .batch_execute(
            "SET application_name = 'nightly dump'; BEGIN; LOCK TABLE t1 IN ACCESS SHARE MODE",
        )
        .await
        .unwrap();
    holder
}

fn alter() -> EmbeddedMigration {
    EmbeddedMigration::new("2_alter", "alter table t1 add column a int")
}

#[tokio::test]
async fn a_migration_that_gives_up_names_table_holder_and_attempts() {
    for metadata in ["run_in_transaction = true", "run_in_transaction = false"] {
        let database = TestDatabase::empty().await.unwrap();
        let holder = held(&database).await;
        let migrator = migrator(&database.url(), &[alter().with_metadata(metadata)])
            .lock_timeout(Duration::from_millis(700))
            .lock_retry(Duration::from_millis(800));
        let error = failed(migrator.run().await.unwrap_err());
        let text = error.to_string();
        assert_eq!(error.sqlstate.as_ref().unwrap().code(), "55P03", "{text}");
        assert!(
            text.contains("waited for table t1, held by backend"),
            "{text}"
        );
        assert!(
            text.contains("(nightly dump, idle in transaction, for "),
            "{text}"
        );
        let waited = error.waited.unwrap();
        assert!(waited.attempts >= 2, "{waited:?}");
        assert_eq!(waited.blockers.len(), 1);
        assert_eq!(server_state(&database).await.1, ["1"]);
        holder.batch_execute("COMMIT").await.unwrap();
        assert_eq!(migrator.run().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_long_dump_is_waited_out_and_readers_wait_no_longer_than_one_lock_timeout() {
    let database = TestDatabase::empty().await.unwrap();
    let holder = held(&database).await;
    let migrator = migrator(&database.url(), &[alter()]).lock_timeout(Duration::from_millis(300));
    let mut slowest = Duration::ZERO;
    let dumping = async {
        let reader = database.connect().await.unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(6) {
            let asked = Instant::now();
            reader.batch_execute("SELECT FROM t1").await.unwrap();
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (applied, ()) = tokio::join!(migrator.run(), dumping);
    assert_eq!(applied.unwrap().len(), 1);
    assert!(
        slowest >= Duration::from_millis(100),
        "nobody waited: {slowest:?}"
    );
    assert!(slowest < Duration::from_millis(1500), "{slowest:?}");
}

#[tokio::test]
async fn a_holder_that_is_idle_for_too_long_is_ended_when_that_is_asked_for() {
    let database = TestDatabase::empty().await.unwrap();
    let holder = held(&database).await;
    let migrator = migrator(&database.url(), &[alter()])
        .lock_timeout(Duration::from_secs(1))
        .end_idle_blockers(Duration::from_millis(1500));
    assert_eq!(migrator.run().await.unwrap().len(), 1);
    assert!(holder.batch_execute("SELECT 1").await.is_err());

    // One that works is waited for.
    let busy = database.connect().await.unwrap();
    let work = busy.batch_execute("BEGIN; SELECT FROM t1; SELECT pg_sleep(2.5); COMMIT");
    let alter = EmbeddedMigration::new("3_alter", "alter table t1 add column b int");
    let migrator = super::migrator(&database.url(), &[alter])
        .lock_timeout(Duration::from_secs(1))
        .end_idle_blockers(Duration::from_millis(100));
    let running = async {
        wait_until("the work has begun", crate::SOON, async || {
            let sql = "SELECT count(*) FROM pg_locks WHERE relation = 't1'::regclass";
            database.scalar::<i64>(sql).await.unwrap() > 0
        })
        .await;
        migrator.run().await
    };
    let (worked, applied) = tokio::join!(work, running);
    worked.unwrap();
    assert_eq!(applied.unwrap().len(), 1);
}

#[tokio::test]
async fn the_log_names_whom_a_migration_waits_for() {
    let database = TestDatabase::empty().await.unwrap();
    let holder = held(&database).await;
    let migrator = migrator(&database.url(), &[alter()])
        .lock_timeout(Duration::from_millis(700))
        .lock_retry(Duration::ZERO);
    let (captured, _guard) = Captured::begin();
    migrator.run().await.unwrap_err();
    let events = captured.events("app_db::migrate");
    let waiting = events
        .iter()
        .find(|event| event.get("message") == Some("waiting for a lock"))
        .expect("the wait is in the log");
    assert_eq!(waiting.get("on"), Some("table t1"));
    let blockers = waiting.get("blockers").unwrap();
    assert!(
        blockers.contains("(nightly dump, idle in transaction"),
        "{blockers}"
    );
    // The server cancels an autovacuum for somebody who waits, but only after `deadlock_timeout`.
    let warns = |event: &&Entry| event.get("deadlock_timeout") == Some("1s");
    assert_eq!(events.iter().filter(warns).count(), 1, "{events:?}");
    holder.batch_execute("COMMIT").await.unwrap();

    // One migration may set a limit of its own.
    let limited =
        alter().with_metadata("run_in_transaction = true\n[dbctl]\nlock_timeout = \"500ms\"");
    let (captured, _guard) = Captured::begin();
    super::migrator(&database.url(), &[limited])
        .run()
        .await
        .unwrap();
    let events = captured.events("app_db::migrate");
    let warning = events.iter().find(warns).expect("a warning");
    assert_eq!(warning.get("lock_timeout"), Some("500ms"), "{warning:?}");
}

#[tokio::test]
async fn without_a_connection_to_spare_the_migration_goes_on_unwatched() {
    let database = TestDatabase::empty().await.unwrap();
    let holder = held(&database).await;
    // The holder and the migrator, and nobody else.
    wait_until("earlier sessions are gone", crate::SOON, async || {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND usename = datname";
        database.scalar::<i64>(sql).await.unwrap() == 1
    })
    .await;
    database.limit_connections(2).await.unwrap();
    let migrator = migrator(&database.url(), &[alter()]).lock_timeout(Duration::from_millis(500));
    let (captured, _guard) = Captured::begin();
    let releasing = async {
        let unwatched = "no second session, so nobody in the way can be named";
        captured.hears(unwatched).await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (applied, ()) = tokio::join!(migrator.run(), releasing);
    assert_eq!(applied.unwrap().len(), 1);
}

/// Two sessions that create one object at the same time collide in an index of the catalogue.
#[tokio::test]
async fn migrations_of_two_schemas_that_create_one_object_at_once_both_succeed() {
    for round in 0..10 {
        let database = TestDatabase::empty().await.unwrap();
        let racing = "create extension if not exists citext; \
                      create schema if not exists shared; \
                      create table if not exists shared.t(a int); \
                      create or replace function shared.f() returns int language sql as 'select 1'; \
                      grant execute on function shared.f() to public";
        let mut runs = Vec::new();
        for schema in ["one", "two", "three"] {
            database
                .sql(&format!(
                    "CREATE SCHEMA {schema}; GRANT ALL ON SCHEMA {schema} TO PUBLIC"
                ))
                .await
                .unwrap();
            let url = format!("{}?options=-csearch_path%3D{schema},public", database.url());
            for metadata in ["run_in_transaction = true", "run_in_transaction = false"] {
                if (metadata.ends_with("true")) == (round % 2 == 0) {
                    let migration =
                        EmbeddedMigration::new("1_racing", racing).with_metadata(metadata);
                    runs.push(migrator(&url, &[migration]));
                }
            }
        }
        let results = futures_util::future::join_all(runs.iter().map(app_db::Migrator::run)).await;
        for result in results {
            assert_eq!(result.unwrap().len(), 1, "round {round}");
        }
    }
}
