//! What a migration leaves in its session does not reach the next one.

use app_db::{EmbeddedMigration, MigrateError};
use harness::TestDatabase;

use super::{migrator, server_state, table};
use crate::captured::Captured;

/// Each leaves something, and the next one fails if it is still there.
const LEFT: [(&str, &str); 9] = [
    (
        "create temp table left_over(a int)",
        "create temp table left_over(b int)",
    ),
    (
        "prepare left_over as select 1",
        "prepare left_over as select 2",
    ),
    (
        "declare left_over cursor with hold for select 1",
        "declare left_over cursor with hold for select 2",
    ),
    (
        "select pg_advisory_lock(-7), pg_advisory_lock(-7), pg_advisory_lock_shared(3, -4), \
         pg_advisory_lock_shared(5)",
        "select 1 / (count(*) = 1)::int from pg_locks \
         where locktype = 'advisory' and pid = pg_backend_pid()",
    ),
    (
        "set work_mem = '123kB'",
        "select 1 / (current_setting('work_mem') <> '123kB')::int",
    ),
    (
        "select set_config('app.tenant', '7', false)",
        "select 1 / (coalesce(current_setting('app.tenant', true), '') = '')::int",
    ),
    (
        "listen left_over",
        "select 1 / (count(*) = 0)::int from pg_listening_channels()",
    ),
    (
        "set session characteristics as transaction read only",
        "create temp table writes()",
    ),
    (
        "set role migrated",
        "select 1 / (current_user = session_user)::int",
    ),
];

#[tokio::test]
async fn the_next_migration_finds_a_new_session() {
    for metadata in ["run_in_transaction = true", "run_in_transaction = false"] {
        let database = TestDatabase::empty().await.unwrap();
        let mut migrations = Vec::new();
        for (leaves, finds) in LEFT {
            for sql in [leaves, finds] {
                let name = format!("{:03}_m", migrations.len());
                let migration = EmbeddedMigration::new(name, sql).with_down("select 1");
                migrations.push(migration.with_metadata(metadata));
            }
        }
        let all = migrations.len();
        let migrator = migrator(&database.url(), &migrations);
        let run = migrator.run().await;
        assert_eq!(run.unwrap().len(), all, "{metadata}");
        assert_eq!(server_state(&database).await.1.len(), all);
        assert_eq!(migrator.revert_all().await.unwrap().len(), all);
    }
}

/// Between two attempts it is idle for up to half a minute.
#[tokio::test]
async fn a_role_whose_idle_sessions_are_ended_keeps_its_migrator() {
    let database = TestDatabase::empty().await.unwrap();
    let role = database.role().name();
    let limit = format!("ALTER ROLE {role} SET idle_session_timeout = '1s'");
    database.sql(&limit).await.unwrap();
    // The server shows what the operating system says, and only Linux knows the second one.
    let milliseconds = if cfg!(target_os = "linux") { 30_000 } else { 0 };
    let lasts = format!(
        "select 1 / (current_setting('idle_session_timeout') = '0' \
         and current_setting('tcp_user_timeout') = '{milliseconds}')::int"
    );
    let migrations = ["1_a", "2_b"].map(|name| EmbeddedMigration::new(name, lasts.clone()));
    let applied = migrator(&database.url(), &migrations).run().await.unwrap();
    assert_eq!(applied.len(), 2, "the second migration finds a new session");
}

#[tokio::test]
async fn redo_does_not_show_up_sql_what_down_sql_has_left() {
    for (leaves, finds) in LEFT {
        if leaves.contains("advisory") {
            // These are released between migrations.
            continue;
        }
        let database = TestDatabase::empty().await.unwrap();
        let migration = EmbeddedMigration::new("1_m", finds).with_down(leaves);
        let migrator = migrator(&database.url(), &[migration]);
        migrator.run().await.unwrap();
        migrator.redo().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn another_session_user_does_not_write_the_history() {
    for metadata in ["run_in_transaction = true", "run_in_transaction = false"] {
        let database = TestDatabase::empty().await.unwrap();
        let role = database.role().name();
        database
            .sql(&format!("ALTER ROLE {role} SUPERUSER"))
            .await
            .unwrap();
        let other = EmbeddedMigration::new(
            "1_other",
            "create table t1(); set session authorization migrated",
        )
        .with_metadata(metadata);
        let finds = format!("create table t2(); select 1 / (session_user = '{role}')::int");
        let next = EmbeddedMigration::new("2_next", finds);
        let run = migrator(&database.url(), &[other, next]).run().await;
        assert_eq!(run.unwrap().len(), 2, "{metadata}");
        assert_eq!(server_state(&database).await.1, ["1", "2"]);
    }
}

#[tokio::test]
async fn a_migration_that_releases_the_migrators_lock_is_the_last_one() {
    let database = TestDatabase::empty().await.unwrap();
    let releases = EmbeddedMigration::new("2_releases", "select pg_advisory_unlock_all()");
    let migrator = migrator(&database.url(), &[table(1), releases, table(3)]);
    let error = migrator.run().await.unwrap_err();
    assert!(matches!(error, MigrateError::LockLost { .. }), "{error:?}");
    assert!(error.to_string().contains("2_releases"), "{error}");
    assert_eq!(server_state(&database).await.1, ["1", "2"]);
    assert_eq!(migrator.run().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_second_attempt_finds_a_new_session_too() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(&database.url(), &[table(1)]).run().await.unwrap();
    let reader = database.connect().await.unwrap();
    reader
        .batch_execute("BEGIN; LOCK TABLE t1 IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let prepares = EmbeddedMigration::new(
        "2_prepares",
        "prepare left_over as select 1; create temp table left_over(); \
         alter table t1 add column a int",
    );
    let migrator =
        migrator(&database.url(), &[prepares]).lock_timeout(std::time::Duration::from_millis(100));
    let (captured, _guard) = Captured::begin();
    let releasing = async {
        captured
            .hears("a lock could not be had, trying again")
            .await;
        reader.batch_execute("COMMIT").await.unwrap();
    };
    let (applied, ()) = tokio::join!(migrator.run(), releasing);
    assert_eq!(applied.unwrap().len(), 1);
}
