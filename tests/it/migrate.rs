//! The migrator against a real server.

use std::time::{Duration, Instant};

use app_db::{
    DirectUrl, EmbeddedMigration, LeftBehind, MigrateError, MigrationSource, MigrationState,
    Migrator,
};
use harness::{Bouncer, BouncerOptions, Cluster, TestDatabase, wait_until};

use crate::at_rest::{NoPool, watched};

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
    let deferred = EmbeddedMigration::new(
        "1_deferred",
        "create table t1(id int primary key, t1 int references t1 deferrable initially deferred);\n\
         insert into t1 values (1, 2);",
    );
    let error = failed(
        migrator(&database.url(), &[deferred])
            .run()
            .await
            .unwrap_err(),
    );
    assert_eq!(error.sqlstate.as_ref().unwrap().code(), "23503");
    assert_eq!((error.line, error.state), (2, LeftBehind::Nothing));
    assert_eq!(server_state(&database).await, (vec![], vec![]));
}

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
    wait_until("the lock is released", Duration::from_secs(2), async || {
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
    wait_until("the lock is held", Duration::from_secs(5), async || {
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
    wait_until("the lock is released", Duration::from_secs(3), async || {
        locks(&database).await == 0
    })
    .await;
    assert_eq!(waiting.run().await.unwrap().len(), 1);
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
    assert!(text.contains("invalid indexes are left: t1_a"), "{text}");
    assert_eq!(
        server_state(&database).await,
        (vec!["t1".to_owned()], vec![])
    );
}

/// case R73
#[tokio::test]
async fn a_migration_older_than_an_applied_one_is_refused_unless_allowed() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(&database.url(), &[table(1), table(3)])
        .run()
        .await
        .unwrap();
    let late = migrator(&database.url(), &[table(1), table(2), table(3), table(4)]);
    assert_eq!(
        late.status().await.unwrap()[1].state,
        MigrationState::OutOfOrder
    );
    assert!(matches!(
        late.run().await,
        Err(MigrateError::OutOfOrder { .. })
    ));
    assert_eq!(server_state(&database).await.1, ["1", "3"]);
    assert_eq!(late.allow_out_of_order(true).run().await.unwrap().len(), 2);
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
        wait_until("the migration waits", Duration::from_secs(5), async || {
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

/// case R75
#[tokio::test]
async fn a_missing_down_file_is_found_before_anything_is_reverted() {
    let database = TestDatabase::empty().await.unwrap();
    let without_down = EmbeddedMigration::new("1_create_t1", "create table t1()");
    let migrator = migrator(&database.url(), &[without_down, table(2)]);
    migrator.run().await.unwrap();
    let error = migrator.revert(2).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot revert 1: 1_create_t1 has no down.sql"
    );
    assert_eq!(server_state(&database).await.1, ["1", "2"]);
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

#[tokio::test]
async fn transaction_control_in_a_migration_is_refused_before_anything_is_changed() {
    let database = TestDatabase::empty().await.unwrap();
    let commits = EmbeddedMigration::new("2_commits", "create table t2(); commit; select nothing");
    let error = migrator(&database.url(), &[table(1), commits])
        .run()
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("2_commits/up.sql contains `commit`"),
        "{error}"
    );
    assert_eq!(server_state(&database).await, (vec![], vec![]));
}

#[tokio::test]
async fn a_pooler_behind_the_direct_url_is_refused() {
    let database = TestDatabase::empty().await.unwrap();
    let server = Cluster::shared().await.unwrap();
    let bouncer = Bouncer::start(server, BouncerOptions::default())
        .await
        .unwrap();
    let migrator = migrator(&database.pooled_url(&bouncer), &[table(1)]);
    let error = migrator.run().await.unwrap_err();
    assert!(matches!(error, MigrateError::Pooled { .. }), "{error:?}");
    assert!(error.to_string().contains("DATABASE_URL_DIRECT"), "{error}");
    // Allowed as a proxy, it is refused nevertheless, because it shares server connections.
    let error = migrator.through_proxy(true).run().await.unwrap_err();
    assert!(matches!(error, MigrateError::Pooled { .. }), "{error:?}");
    let exists: bool = database
        .scalar("SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL")
        .await
        .unwrap();
    assert!(!exists);
}

/// The URL of a database that is not there.
fn missing_database(database: &TestDatabase) -> String {
    let role = database.role();
    harness::url(
        database.server().port(),
        "no_such_database",
        role.name(),
        &role.password(),
    )
}

/// case R02, case R03
#[tokio::test]
async fn a_server_that_cannot_be_used_is_reported_at_once_and_without_the_secret() {
    let database = TestDatabase::empty().await.unwrap();
    let watch = watched(&database, NoPool);
    let wrong_password = database.url().replace(&database.password(), "canary5ecret");
    let missing = missing_database(&database);
    let closed = database
        .url()
        .replace(&format!(":{}/", database.server().port()), ":1/");
    for url in [wrong_password, missing, closed] {
        let started = Instant::now();
        let error = migrator(&url, &[table(1)]).run().await.unwrap_err();
        assert!(matches!(error, MigrateError::Connect { .. }), "{error:?}");
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "{:?}",
            started.elapsed()
        );
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("canary5ecret") && !text.contains(&database.password()),
            "{text}"
        );
    }
    watch.rests().await;
}
