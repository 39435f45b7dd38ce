//! Whether a service and its schema belong together: readiness, embedding, and migrating at start.

use app_db::{Config, Database, DirectUrl, EmbeddedMigration, MigrationSource, Migrator};
use harness::TestDatabase;

use super::{migrator, server_state, table};
use crate::transaction::database;

fn source(migrations: &[EmbeddedMigration]) -> MigrationSource {
    MigrationSource::embedded(migrations.iter().cloned())
}

#[tokio::test]
async fn a_newer_service_becomes_ready_without_a_restart_and_an_older_one_is_ready() {
    let server = TestDatabase::empty().await.unwrap();
    migrator(&server.url(), &[table(1)]).run().await.unwrap();
    let newer = database(&server.url(), &[])
        .await
        .with_migrations(source(&[table(1), table(2)]));
    let state = newer.schema().await.unwrap();
    assert!(!state.is_ready());
    assert_eq!(state.pending, ["2_create_t2"]);

    migrator(&server.url(), &[table(1), table(2)])
        .run()
        .await
        .unwrap();
    assert!(newer.schema().await.unwrap().is_ready());

    let older = database(&server.url(), &[])
        .await
        .with_migrations(source(&[table(1)]));
    let state = older.schema().await.unwrap();
    assert!(state.is_ready(), "{state:?}");
    assert_eq!(state.ahead, ["2"]);

    let edited = EmbeddedMigration::new("1_create_t1", "create table t1(a int)");
    let drifted = database(&server.url(), &[])
        .await
        .with_migrations(source(&[edited]));
    let state = drifted.schema().await.unwrap();
    assert!(!state.is_ready());
    assert_eq!(state.drifted, ["1_create_t1"]);
}

#[tokio::test]
async fn readiness_needs_select_alone() {
    let server = TestDatabase::empty().await.unwrap();
    migrator(&server.url(), &[table(1)]).run().await.unwrap();
    let role = server.add_role().await.unwrap();
    let revoke = format!(
        "REVOKE {}, migrated FROM {}",
        server.role().name(),
        role.name()
    );
    let grant = format!(
        "GRANT SELECT ON __diesel_schema_migrations TO {}",
        role.name()
    );
    server.sql(&format!("{revoke}; {grant}")).await.unwrap();
    let service = database(&server.url_as(&role), &[])
        .await
        .with_migrations(source(&[table(1)]));
    assert!(service.schema().await.unwrap().is_ready());
    // Without a history everything is pending.
    let empty = TestDatabase::empty().await.unwrap();
    let service = database(&empty.url(), &[])
        .await
        .with_migrations(source(&[table(1)]));
    assert_eq!(service.schema().await.unwrap().pending, ["1_create_t1"]);
}

#[tokio::test]
async fn a_folder_inside_the_program_is_the_folder() {
    let embedded = app_db::embed_migrations!("$CARGO_MANIFEST_DIR/../migrations").unwrap();
    let folder = MigrationSource::directory(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations"));
    let (embedded_ones, ones) = (embedded.read().unwrap(), folder.read().unwrap());
    assert!(!ones.is_empty());
    let facts = |m: &app_db::Migration| {
        (
            m.version.clone(),
            m.name.clone(),
            m.up.clone(),
            m.down.clone(),
            m.run_in_transaction,
        )
    };
    assert_eq!(
        embedded_ones.iter().map(facts).collect::<Vec<_>>(),
        ones.iter().map(facts).collect::<Vec<_>>()
    );
    let server = TestDatabase::empty().await.unwrap();
    let url = DirectUrl::parse(&server.url()).unwrap();
    let applied = Migrator::new(url, embedded).run().await.unwrap();
    assert_eq!(applied.len(), ones.len());
}

#[tokio::test]
async fn a_service_in_dev_migrates_at_its_start_if_it_is_told_to() {
    let server = TestDatabase::empty().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let migration = folder.path().join("migrations/1_t1");
    std::fs::create_dir_all(&migration).unwrap();
    std::fs::write(migration.join("up.sql"), "create table t1()").unwrap();
    let directory = folder
        .path()
        .join("migrations")
        .to_str()
        .unwrap()
        .to_owned();
    let vars = |environment: &str, on: &str| {
        [
            ("APP_ENV", environment.to_owned()),
            ("DATABASE_URL", server.url()),
            ("DATABASE_URL_DIRECT", server.url()),
            ("APP_DB__MIGRATIONS__DIRECTORY", directory.clone()),
            ("APP_DB__MIGRATIONS__MIGRATE_ON_START", on.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    };
    let load = |vars| Config::load_from(folder.path(), vars);

    let off = Database::connect(&load(vars("test", "off")).unwrap())
        .await
        .unwrap();
    assert_eq!(off.schema().await.unwrap().pending, ["1_t1"]);
    let on = Database::connect(&load(vars("test", "on")).unwrap())
        .await
        .unwrap();
    assert!(on.schema().await.unwrap().is_ready());
    assert_eq!(
        server_state(&server).await,
        (vec!["t1".to_owned()], vec!["1".to_owned()])
    );

    let error = load(vars("staging", "on")).unwrap_err().to_string();
    assert!(error.contains("for dev and test alone"), "{error}");
}
