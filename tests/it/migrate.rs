//! The migrator against a real server.

mod autovacuum;
mod baselined;
mod blocked;
mod concurrent;
mod diesels;
mod drift;
mod environment;
mod events;
mod histories;
mod left_in_session;
mod locks;
mod many;
mod phases;
mod plan;
mod psql;
mod random_sets;
mod readiness;
mod refused;
mod rehearsed;
mod resumed;
mod script;
mod side_table;
mod verified;

use std::time::Duration;

use app_db::{
    DirectUrl, EmbeddedMigration, LeftBehind, MigrateError, MigrationSource, MigrationState,
    Migrator,
};
use harness::{TestDatabase, wait_until};

fn migrator(url: &str, migrations: &[EmbeddedMigration]) -> Migrator {
    let source = MigrationSource::embedded(migrations.iter().cloned());
    Migrator::new(DirectUrl::parse(url).unwrap(), source)
}

fn table(version: u32) -> EmbeddedMigration {
    EmbeddedMigration::new(
        format!("{version}_create_t{version}"),
        format!("create table t{version}()"),
    )
    .with_down(format!("drop table t{version}"))
}

/// The tables `t1`, `t2`, .. and the recorded versions, as the server has them.
async fn server_state(database: &TestDatabase) -> (Vec<String>, Vec<String>) {
    let tables = "SELECT coalesce(array_agg(relname::text ORDER BY 1), '{}') FROM pg_class \
                  WHERE relkind = 'r' AND relname ~ '^t[0-9]'";
    let versions = "SELECT coalesce(array_agg(version::text ORDER BY 1), '{}') \
                    FROM __diesel_schema_migrations";
    (
        database.scalar(tables).await.unwrap(),
        database.scalar(versions).await.unwrap(),
    )
}

/// What fails only at COMMIT.
fn fails_at_commit() -> EmbeddedMigration {
    EmbeddedMigration::new(
        "1_deferred",
        "create table t1(id int primary key, t1 int references t1 deferrable initially deferred);\n\
         insert into t1 values (1, 2);",
    )
}

fn failed(error: MigrateError) -> app_db::FailedMigration {
    match error {
        MigrateError::Failed(failed) => *failed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn run_status_revert_and_redo_agree_with_the_server() {
    let database = TestDatabase::empty().await.unwrap();
    let migrator = migrator(&database.url(), &[table(1), table(2), table(3)]);

    let pending = migrator.status().await.unwrap();
    assert!(
        pending
            .iter()
            .all(|m| m.state == MigrationState::Pending && m.applied_at.is_none())
    );
    assert!(matches!(
        migrator.assert_up_to_date().await,
        Err(MigrateError::Pending { count: 3, .. })
    ));

    let applied = migrator.run().await.unwrap();
    assert_eq!(
        applied.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
        ["create_t1", "create_t2", "create_t3"]
    );
    assert!(migrator.run().await.unwrap().is_empty());
    migrator.assert_up_to_date().await.unwrap();

    let reverted = migrator.revert(2).await.unwrap();
    assert_eq!(
        reverted
            .iter()
            .map(|m| m.version.as_str())
            .collect::<Vec<_>>(),
        ["3", "2"]
    );
    assert_eq!(
        server_state(&database).await,
        (vec!["t1".to_owned()], vec!["1".to_owned()])
    );

    database
        .sql("COMMENT ON TABLE t1 IS 'the first'")
        .await
        .unwrap();
    assert_eq!(migrator.redo().await.unwrap().unwrap().version, "1");
    let comment: Option<String> = database
        .scalar("SELECT obj_description('t1'::regclass)")
        .await
        .unwrap();
    assert_eq!(comment, None, "redo did not make the table anew");
    assert_eq!(
        server_state(&database).await,
        (vec!["t1".to_owned()], vec!["1".to_owned()])
    );
}

#[tokio::test]
async fn a_failing_migration_is_rolled_back_and_later_ones_are_not_run() {
    let database = TestDatabase::empty().await.unwrap();
    let broken = EmbeddedMigration::new(
        "2_broken",
        "create table t2();\n-- ü\ninsert into t2\n  select nothing;\ncreate table t22();",
    );
    let migrator = migrator(&database.url(), &[table(1), broken, table(3)]);

    let failed = failed(migrator.run().await.unwrap_err());
    assert_eq!(
        (failed.version.as_str(), failed.line, failed.column),
        ("2", 4, 10)
    );
    assert_eq!(failed.sqlstate.as_ref().unwrap().code(), "42703");
    assert_eq!(
        (failed.state.clone(), failed.finished_before),
        (LeftBehind::Nothing, 1)
    );
    assert_eq!(
        failed.to_string(),
        "migration 2 failed at 2_broken/up.sql:4:10 with SQLSTATE 42703, and was rolled back; \
         1 migration before it stay done"
    );
    assert_eq!(
        server_state(&database).await,
        (vec!["t1".to_owned()], vec!["1".to_owned()])
    );
}

#[tokio::test]
async fn a_constraint_that_fails_only_at_commit_rolls_the_migration_back() {
    let database = TestDatabase::empty().await.unwrap();
    let error = failed(
        migrator(&database.url(), &[fails_at_commit()])
            .run()
            .await
            .unwrap_err(),
    );
    assert_eq!(error.sqlstate.as_ref().unwrap().code(), "23503");
    assert_eq!((error.line, error.state), (2, LeftBehind::Nothing));
    assert_eq!(server_state(&database).await, (vec![], vec![]));
}

/// case R71
#[tokio::test]
async fn a_migration_whose_session_is_killed_is_rolled_back_and_can_be_run_again() {
    let database = TestDatabase::empty().await.unwrap();
    let slow =
        "create table t2(); select case when to_regclass('go') is null then pg_sleep(30) end";
    let migrator = migrator(
        &database.url(),
        &[table(1), EmbeddedMigration::new("2_slow", slow)],
    );
    let running = async { failed(migrator.run().await.unwrap_err()) };
    let killing = async {
        wait_until("the migration sleeps", Duration::from_secs(5), async || {
            let backends = database.backends("app-db migrator").await.unwrap();
            backends
                .iter()
                .any(|backend| backend.query.contains("pg_sleep"))
        })
        .await;
        database
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name = 'app-db migrator' AND datname = current_database()",
            )
            .await
            .unwrap();
    };
    let (error, ()) = tokio::join!(running, killing);
    assert_eq!(
        (error.version.as_str(), error.state),
        ("2", LeftBehind::Nothing)
    );
    assert_eq!(
        server_state(&database).await,
        (vec!["t1".to_owned()], vec!["1".to_owned()])
    );

    database
        .sql("CREATE TABLE go(); GRANT ALL ON go TO PUBLIC")
        .await
        .unwrap();
    assert_eq!(migrator.run().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_index_is_built_concurrently_outside_a_transaction() {
    let database = TestDatabase::empty().await.unwrap();
    let table = EmbeddedMigration::new(
        "1_create_t1",
        "create table t1(a int); select pg_sleep(0.3)",
    );
    let index = EmbeddedMigration::new(
        "2_index_t1",
        "create index concurrently t1_a on t1(a);\ncreate index concurrently t1_b on t1((a + 1));",
    )
    .with_down("drop index concurrently t1_a; drop index concurrently t1_b")
    .with_metadata("run_in_transaction = false");
    let migrator = migrator(&database.url(), &[table, index]);
    // A second runner polls meanwhile; blocked inside the lock it would stall the build for ever.
    let (first, second) = tokio::join!(migrator.run(), migrator.run());
    assert_eq!(first.unwrap().len() + second.unwrap().len(), 2);
    let valid: i64 = database
        .scalar("SELECT count(*) FROM pg_index WHERE indrelid = 't1'::regclass AND indisvalid")
        .await
        .unwrap();
    assert_eq!(valid, 2);
    migrator.redo().await.unwrap().unwrap();
    migrator.revert(1).await.unwrap();
}

#[tokio::test]
async fn a_failure_outside_a_transaction_says_what_has_run_and_is_not_recorded() {
    let database = TestDatabase::empty().await.unwrap();
    let sql = "create table t1(a int);\ninsert into t1 values (1), (1);\n\
               create unique index concurrently t1_a on t1(a);\nselect 1";
    let migration =
        EmbeddedMigration::new("1_index", sql).with_metadata("run_in_transaction = false");
    let error = failed(
        migrator(&database.url(), &[migration])
            .run()
            .await
            .unwrap_err(),
    );
    assert_eq!((error.line, error.column), (3, 1));
    let text = error.to_string();
    assert!(text.contains("2 statements have run before"), "{text}");
    assert!(
        text.contains("invalid indexes are left: public.t1_a (the next run"),
        "{text}"
    );
    assert_eq!(
        server_state(&database).await,
        (vec!["t1".to_owned()], vec![])
    );
}

#[tokio::test]
async fn a_version_without_files_is_shown_and_does_not_hinder_a_run() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(&database.url(), &[table(1)]).run().await.unwrap();
    let newer = migrator(&database.url(), &[table(2)]);
    assert_eq!(
        newer.status().await.unwrap()[0].state,
        MigrationState::Missing
    );
    assert_eq!(newer.run().await.unwrap().len(), 1);
    assert!(matches!(
        newer.revert(2).await,
        Err(MigrateError::Irreversible { .. })
    ));
}

#[tokio::test]
async fn what_a_migration_sets_does_not_reach_the_record_or_the_next_migration() {
    let database = TestDatabase::empty().await.unwrap();
    let migrations = [
        EmbeddedMigration::new(
            "1_dump",
            "select pg_catalog.set_config('search_path', '', false); create table public.t1();",
        ),
        EmbeddedMigration::new("2_role", "create table t2(); set role migrated;"),
        table(3),
    ];
    migrator(&database.url(), &migrations).run().await.unwrap();
    assert_eq!(server_state(&database).await.1, ["1", "2", "3"]);
}
