//! Applied migrations whose files were edited since.

use app_db::{EmbeddedMigration, MigrateError, MigrationState};
use harness::TestDatabase;

use super::{migrator, server_state, table};
use crate::captured::Captured;

const APPLIED: &str = "create table t1();\n-- ü\n";

fn first(up: &'static str) -> EmbeddedMigration {
    EmbeddedMigration::new("1_a", up).with_down("drop table t1")
}

/// case R72
#[tokio::test]
async fn an_edit_is_shown_and_stops_a_run_until_it_is_accepted_or_undone() {
    let database = TestDatabase::empty().await.unwrap();
    let original = migrator(&database.url(), &[first(APPLIED), table(2)]);
    migrator(&database.url(), &[first(APPLIED)])
        .run()
        .await
        .unwrap();
    let edited = migrator(
        &database.url(),
        &[first("create table t1();\n-- u\n"), table(2)],
    );

    let status = edited.status().await.unwrap();
    assert_eq!(
        status.iter().map(|m| m.state).collect::<Vec<_>>(),
        [MigrationState::Drifted, MigrationState::Pending]
    );
    for error in [edited.run().await.map(|_| ()), edited.accept("2").await] {
        error.unwrap_err();
    }
    assert!(matches!(
        edited.run().await,
        Err(MigrateError::Drifted { .. })
    ));
    assert_eq!(server_state(&database).await.1, ["1"]);

    // The original is still good, and so are other line ends and blanks.
    let reformatted = first("\u{feff}create table t1();  \r\n-- ü\r\n\r\n");
    let reformatted = migrator(&database.url(), &[reformatted]);
    reformatted.assert_up_to_date().await.unwrap();
    assert!(reformatted.run().await.unwrap().is_empty());

    edited.accept("1").await.unwrap();
    assert_eq!(edited.run().await.unwrap().len(), 1);
    edited.assert_up_to_date().await.unwrap();
    for refused in [
        original.run().await.map(|_| ()),
        original.assert_up_to_date().await,
    ] {
        assert!(
            matches!(refused, Err(MigrateError::Drifted { .. })),
            "{refused:?}"
        );
    }
    // To revert an edited migration and apply it again is a way out too.
    assert_eq!(original.revert_all().await.unwrap().len(), 2);
    assert_eq!(original.run().await.unwrap().len(), 2);
    original.assert_up_to_date().await.unwrap();
}

#[tokio::test]
async fn redo_notes_the_file_as_it_is_now() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(&database.url(), &[first(APPLIED)])
        .run()
        .await
        .unwrap();
    let edited = migrator(&database.url(), &[first("create table t1(a int)")]);
    edited.redo().await.unwrap().unwrap();
    edited.assert_up_to_date().await.unwrap();
}

#[tokio::test]
async fn what_another_tool_has_applied_is_unknown_and_no_error() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(&database.url(), &[first(APPLIED)])
        .run()
        .await
        .unwrap();
    // diesel's tool reverts the migration and applies an edited one.
    for sql in [
        "DELETE FROM __diesel_schema_migrations",
        "INSERT INTO __diesel_schema_migrations (version) VALUES ('1'), ('2')",
    ] {
        database.sql(sql).await.unwrap();
    }
    let edited = migrator(
        &database.url(),
        &[first("create table t1(a int)"), table(2)],
    );
    edited.assert_up_to_date().await.unwrap();
    assert!(edited.run().await.unwrap().is_empty());
    edited.accept("1").await.unwrap();
    let original = migrator(&database.url(), &[first(APPLIED)]);
    assert_eq!(
        original.status().await.unwrap()[0].state,
        MigrationState::Drifted
    );
}

#[tokio::test]
async fn a_role_that_may_not_create_the_table_runs_without_it_and_says_so() {
    let database = TestDatabase::empty().await.unwrap();
    let role = database.role().name();
    database
        .sql(&format!(
            "CREATE SCHEMA app; CREATE TABLE app.__diesel_schema_migrations \
             (version varchar(50) PRIMARY KEY, run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP); \
             GRANT USAGE ON SCHEMA app TO {role}; \
             GRANT ALL ON app.__diesel_schema_migrations TO {role}; \
             ALTER ROLE {role} IN DATABASE {} SET search_path = app",
            database.name()
        ))
        .await
        .unwrap();
    let does = |up| EmbeddedMigration::new("1_a", up).with_down("select 1");
    let (captured, _guard) = Captured::begin();
    let applied = migrator(&database.url(), &[does("select 1")]).run().await;
    assert_eq!(applied.unwrap().len(), 1);
    let events = captured.events("app_db::migrate");
    let warning = events
        .iter()
        .find(|event| event.get("table") == Some("\"app\".__dbctl_migrations"));
    assert!(warning.is_some(), "{events:?}");
    let edited = migrator(&database.url(), &[does("select 2")]);
    edited.assert_up_to_date().await.unwrap();
    assert_eq!(edited.revert(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_status_needs_no_more_than_select() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(&database.url(), &[first(APPLIED)])
        .run()
        .await
        .unwrap();
    let reader = database.add_role().await.unwrap();
    database
        .sql(&format!(
            "REVOKE {} FROM {reader}; REVOKE migrated FROM {reader}; GRANT SELECT ON \
             __diesel_schema_migrations, __dbctl_migrations TO {reader}",
            database.role().name(),
            reader = reader.name(),
        ))
        .await
        .unwrap();
    let url = database.url_as(&reader);
    migrator(&url, &[first(APPLIED)])
        .assert_up_to_date()
        .await
        .unwrap();
    let edited = migrator(&url, &[first("create table t1(a int)")]);
    assert_eq!(
        edited.status().await.unwrap()[0].state,
        MigrationState::Drifted
    );
}
