//! A schema that somebody else has made.

use app_db::{EmbeddedMigration, MigrateError, MigrationState};
use harness::TestDatabase;

use super::{migrator, server_state, table};

#[tokio::test]
async fn a_baseline_is_recorded_only_where_the_schema_is_there() {
    let database = TestDatabase::empty().await.unwrap();
    let migrations = [table(1), table(2), table(3)];
    let migrator = migrator(&database.url(), &migrations);
    let missing = migrator.baseline("2_create_t2").await;
    let Err(MigrateError::NoBaseline { missing, .. }) = missing else {
        panic!("{missing:?}");
    };
    assert_eq!(missing, ["t1", "t2"]);
    assert!(server_state(&database).await.1.is_empty());

    database
        .sql("CREATE TABLE t1(); CREATE TABLE t2()")
        .await
        .unwrap();
    assert_eq!(
        migrator.baseline("2").await.unwrap(),
        ["1_create_t1", "2_create_t2"]
    );
    assert!(migrator.baseline("2").await.unwrap().is_empty());
    let states: Vec<_> = migrator
        .status()
        .await
        .unwrap()
        .iter()
        .map(|m| m.state)
        .collect();
    assert_eq!(
        states,
        [
            MigrationState::Applied,
            MigrationState::Applied,
            MigrationState::Pending
        ]
    );
    assert_eq!(migrator.run().await.unwrap().len(), 1);
    assert!(matches!(
        migrator.baseline("9").await,
        Err(MigrateError::UnknownVersion { .. })
    ));
    // An edit of what was recorded is noticed.
    let edited = EmbeddedMigration::new("1_create_t1", "create table t1(a int)");
    let edited = super::migrator(&database.url(), &[edited, table(2), table(3)]);
    assert_eq!(
        edited.status().await.unwrap()[0].state,
        MigrationState::Drifted
    );
}
