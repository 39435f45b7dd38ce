//! What the migrator refuses, mostly before it changes anything.

use app_db::{EmbeddedMigration, MigrateError, MigrationState};
use harness::{Bouncer, BouncerOptions, Cluster, TestDatabase};
use tokio::time::timeout;

use super::{migrator, server_state, table};
use crate::at_rest::{NoPool, watched};

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

/// case R02, case R03
#[tokio::test]
async fn a_server_that_cannot_be_used_is_reported_at_once_and_without_the_secret() {
    let database = TestDatabase::empty().await.unwrap();
    let watch = watched(&database, NoPool);
    let wrong_password = database.url().replace(&database.password(), "canary5ecret");
    let missing = database.missing_url();
    let closed = database
        .url()
        .replace(&format!(":{}/", database.server().port()), ":1/");
    for url in [wrong_password, missing, closed] {
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}connect_timeout=60");
        let running = migrator(&url, &[table(1)]);
        let error = timeout(crate::SOON, running.run())
            .await
            .expect("it does not wait for the deadline")
            .unwrap_err();
        assert!(matches!(error, MigrateError::Connect { .. }), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("canary5ecret") && !text.contains(&database.password()),
            "{text}"
        );
    }
    watch.rests().await;
}
