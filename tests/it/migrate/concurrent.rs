//! Indexes that are built concurrently: never recorded while they are invalid.

use std::sync::{Arc, Mutex};

use app_db::{EmbeddedMigration, LeftBehind, MigrateError};
use harness::{TestDatabase, wait_until};
use serde_json::Value;
use tokio_postgres::Client;

use super::{failed, migrator, server_state};
use crate::captured::Captured;

fn outside(name: &'static str, sql: &str) -> EmbeddedMigration {
    EmbeddedMigration::new(name, sql.to_owned()).with_metadata("run_in_transaction = false")
}

/// A table with duplicates, an invalid index of somebody else's on it, and a session.
async fn table_with_duplicates(database: &TestDatabase) -> Client {
    let client = database.connect().await.unwrap();
    client
        .batch_execute("CREATE TABLE t1(a int); INSERT INTO t1 VALUES (1), (1)")
        .await
        .unwrap();
    let others = "CREATE UNIQUE INDEX CONCURRENTLY t1_others ON t1(a)";
    client.batch_execute(others).await.unwrap_err();
    client
}

/// The invalid indexes, and the valid ones.
async fn indexes(database: &TestDatabase) -> (String, String) {
    let of = |valid: &str| {
        format!(
            "SELECT coalesce(string_agg(indexrelid::regclass::text, ' ' \
             ORDER BY indexrelid::regclass::text), '') FROM pg_index \
             WHERE indrelid::regclass::text LIKE 't1' AND {valid} indisvalid"
        )
    };
    (
        database.scalar(&of("NOT")).await.unwrap(),
        database.scalar(&of("")).await.unwrap(),
    )
}

/// A transaction that no concurrent build gets past.
async fn old_snapshot(database: &TestDatabase) -> Client {
    let reader = database.connect().await.unwrap();
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t1")
        .await
        .unwrap();
    reader
}

async fn building(database: &TestDatabase) {
    wait_until(
        "an index waits for the other session",
        crate::SOON,
        async || {
            let sql = "SELECT count(*) FROM pg_stat_progress_create_index \
                   WHERE datname = current_database() AND phase LIKE 'waiting%'";
            database.scalar::<i64>(sql).await.unwrap() == 1
        },
    )
    .await;
}

#[tokio::test]
async fn an_invalid_index_is_built_again_and_no_other_is_touched() {
    for exists in ["", "IF NOT EXISTS "] {
        let database = TestDatabase::empty().await.unwrap();
        let client = table_with_duplicates(&database).await;
        let sql = format!("CREATE UNIQUE INDEX CONCURRENTLY {exists}T1_a ON t1(a)");
        let migrator = migrator(&database.url(), &[outside("1_index", &sql)]);
        for _ in 0..2 {
            let error = failed(migrator.run().await.unwrap_err());
            let LeftBehind::Statements {
                invalid_indexes,
                next_run_drops,
                ..
            } = &error.state
            else {
                panic!("{error:?}");
            };
            assert_eq!(
                (&**invalid_indexes, *next_run_drops),
                (&["public.t1_a".to_owned()][..], true)
            );
            assert_eq!(error.sqlstate.as_ref().unwrap().code(), "23505");
            assert!(server_state(&database).await.1.is_empty());
        }
        client
            .batch_execute("DELETE FROM t1; INSERT INTO t1 VALUES (1)")
            .await
            .unwrap();
        assert_eq!(migrator.run().await.unwrap().len(), 1);
        let expected = ("t1_others".to_owned(), "t1_a".to_owned());
        assert_eq!(indexes(&database).await, expected, "{exists}");
    }
}

#[tokio::test]
async fn a_build_that_is_killed_is_not_recorded_and_the_next_run_finishes_it() {
    let database = TestDatabase::empty().await.unwrap();
    let client = table_with_duplicates(&database).await;
    let reader = old_snapshot(&database).await;
    let sql = "create index concurrently if not exists t1_a on t1(a)";
    let told = Arc::new(Mutex::new(Vec::<Value>::new()));
    let hearing = Arc::clone(&told);
    let migrator = migrator(&database.url(), &[outside("1_index", sql)]).on_event(move |event| {
        let event = serde_json::to_value(event).unwrap();
        hearing.lock().unwrap().push(event);
    });
    let (captured, _guard) = Captured::begin();
    let killing = async {
        building(&database).await;
        captured.hears("building an index").await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index \
                    WHERE datname = current_database()";
        database.sql(kill).await.unwrap();
    };
    let (error, ()) = tokio::join!(migrator.run(), killing);
    assert_eq!(failed(error.unwrap_err()).version, "1");
    assert!(server_state(&database).await.1.is_empty());
    assert_eq!(indexes(&database).await.0, "t1_a t1_others");
    let events = captured.events("app_db::migrate");
    let progress = events
        .iter()
        .find(|event| event.get("message") == Some("building an index"))
        .expect("the build is in the log");
    assert!(progress.get("phase").unwrap().starts_with("waiting"));
    let building = {
        let told = told.lock().unwrap();
        let mut building = told.iter().filter(|event| event["event"] == "building");
        building.next().cloned().expect("the event")
    };
    assert_eq!(building["phase"], progress.get("phase").unwrap());
    let reading: i64 = building["waits_for"].as_i64().unwrap();
    assert!(
        reading > 0 && building["blocks_total"].is_i64(),
        "{building}"
    );

    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(migrator.run().await.unwrap().len(), 1);
    let expected = ("t1_others".to_owned(), "t1_a".to_owned());
    assert_eq!(indexes(&database).await, expected);
    drop(client);
}

#[tokio::test]
async fn a_unique_build_that_is_killed_and_then_finds_duplicates_is_recorded_when_they_are_gone() {
    let database = TestDatabase::empty().await.unwrap();
    let client = table_with_duplicates(&database).await;
    let writer = database.connect().await.unwrap();
    let writes = "BEGIN; LOCK TABLE t1 IN ROW EXCLUSIVE MODE";
    writer.batch_execute(writes).await.unwrap();
    let sql = "create unique index concurrently t1_a on t1(a)";
    let migrator = migrator(&database.url(), &[outside("1_index", sql)]);
    let killing = async {
        building(&database).await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index \
                    WHERE datname = current_database()";
        database.sql(kill).await.unwrap();
    };
    let (error, ()) = tokio::join!(migrator.run(), killing);
    failed(error.unwrap_err());
    assert_eq!(indexes(&database).await.0, "t1_a t1_others");
    writer.batch_execute("COMMIT").await.unwrap();
    let error = failed(migrator.run().await.unwrap_err());
    assert_eq!(error.sqlstate.as_ref().unwrap().code(), "23505");
    assert!(server_state(&database).await.1.is_empty());
    client
        .batch_execute("DELETE FROM t1; INSERT INTO t1 VALUES (1)")
        .await
        .unwrap();
    assert_eq!(migrator.run().await.unwrap().len(), 1);
    let expected = ("t1_others".to_owned(), "t1_a".to_owned());
    assert_eq!(indexes(&database).await, expected);
}

#[tokio::test]
async fn an_index_that_somebody_else_is_building_is_waited_for_and_kept() {
    let database = TestDatabase::empty().await.unwrap();
    let client = table_with_duplicates(&database).await;
    let reader = old_snapshot(&database).await;
    let sql = "create index concurrently if not exists t1_a on t1(a)";
    let migrator = migrator(&database.url(), &[outside("1_index", sql)]);
    let (captured, _guard) = Captured::begin();
    let finishing = async {
        building(&database).await;
        let before: u32 = database
            .scalar("SELECT 't1_a'::regclass::oid")
            .await
            .unwrap();
        let run = migrator.run();
        let releasing = async {
            captured.hears("waiting for a lock").await;
            reader.batch_execute("COMMIT").await.unwrap();
        };
        let (applied, ()) = tokio::join!(run, releasing);
        assert_eq!(applied.unwrap().len(), 1);
        let after: u32 = database
            .scalar("SELECT 't1_a'::regclass::oid")
            .await
            .unwrap();
        assert_eq!(before, after, "it was dropped");
    };
    let by_hand = client.batch_execute("CREATE INDEX CONCURRENTLY t1_a ON t1(a)");
    let (built, ()) = tokio::join!(by_hand, finishing);
    built.unwrap();
    assert_eq!(indexes(&database).await.1, "t1_a");
}

#[tokio::test]
async fn an_index_of_another_table_is_not_taken_for_the_one_to_be_built() {
    let database = TestDatabase::empty().await.unwrap();
    let client = database.connect().await.unwrap();
    client
        .batch_execute("CREATE TABLE t1(a int); CREATE TABLE t2(a int); CREATE INDEX i ON t2(a)")
        .await
        .unwrap();
    let sql = "create index concurrently if not exists i on t1(a)";
    let error = migrator(&database.url(), &[outside("1_index", sql)])
        .run()
        .await
        .unwrap_err();
    assert!(
        matches!(error, MigrateError::IndexNotBuilt { .. }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "migration 1_index did not build its index on t1, because public.i is an index of another table"
    );
    assert!(server_state(&database).await.1.is_empty());
}

#[tokio::test]
async fn names_are_read_as_the_server_reads_them() {
    let database = TestDatabase::empty().await.unwrap();
    let client = database.connect().await.unwrap();
    let long = "a".repeat(70);
    client
        .batch_execute(
            "CREATE SCHEMA \"S;s\"; CREATE TABLE \"S;s\".\"T\"\"t\"(a int); \
             INSERT INTO \"S;s\".\"T\"\"t\" VALUES (1), (1)",
        )
        .await
        .unwrap();
    for name in ["\"I;i\"", "Plain", "\"on\"", &long] {
        let sql = format!(
            "/* a */ create unique index concurrently if not exists {name} -- b\n \
             on only \"S;s\" . \"T\"\"t\" (a)"
        );
        let migrator = migrator(&database.url(), &[outside("1_index", &sql)]);
        failed(migrator.run().await.unwrap_err());
        failed(migrator.run().await.unwrap_err());
    }
    let all: i64 = database
        .scalar("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
        .await
        .unwrap();
    assert_eq!(all, 4);
}

#[tokio::test]
async fn what_a_failed_rebuild_leaves_is_named_and_has_to_be_dropped_by_hand() {
    let database = TestDatabase::empty().await.unwrap();
    let client = table_with_duplicates(&database).await;
    let sql = "reindex index concurrently t1_others";
    let error = failed(
        migrator(&database.url(), &[outside("1_rebuild", sql)])
            .run()
            .await
            .unwrap_err(),
    );
    let text = error.to_string();
    assert!(
        text.contains("invalid indexes are left: public.t1_others_ccnew (drop them by hand)"),
        "{text}"
    );
    drop(client);
}

#[tokio::test]
async fn a_partitioned_table_is_told_how_to_get_its_index() {
    let database = TestDatabase::empty().await.unwrap();
    let sql = "create table t1(a int) partition by range (a)";
    migrator(&database.url(), &[EmbeddedMigration::new("1_t1", sql)])
        .run()
        .await
        .unwrap();
    let index = outside("2_index", "create index concurrently t1_a on t1(a)");
    let error = migrator(&database.url(), &[index]).run().await.unwrap_err();
    let text = failed(error).to_string();
    assert!(
        text.contains("SQLSTATE 0A000") && text.contains("ATTACH PARTITION"),
        "{text}"
    );
}
