//! diesel's own runner and ours on one folder, one after the other.

use std::fs;
use std::path::Path;

use app_db::{DirectUrl, MigrateError, MigrationSource, Migrator};
use diesel_async::{AsyncConnection, AsyncMigrationHarness, AsyncPgConnection};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use harness::TestDatabase;

use super::server_state;

fn write(folder: &Path, version: u32, up: &str, metadata: Option<&str>) {
    let migration = folder.join(format!("2026-01-0{version}-000000_m{version}"));
    fs::create_dir_all(&migration).unwrap();
    fs::write(migration.join("up.sql"), up).unwrap();
    fs::write(migration.join("down.sql"), format!("drop table t{version}")).unwrap();
    if let Some(metadata) = metadata {
        fs::write(migration.join("metadata.toml"), metadata).unwrap();
    }
}

/// What diesel does with the folder.
async fn diesel(database: &TestDatabase, folder: &Path, revert: bool) -> Vec<String> {
    let conn = AsyncPgConnection::establish(&database.url()).await.unwrap();
    let folder = folder.to_owned();
    let work = move || {
        let migrations = FileBasedMigrations::from_path(&folder).unwrap();
        let mut harness = AsyncMigrationHarness::new(conn);
        if revert {
            let version = harness.revert_last_migration(migrations).unwrap();
            vec![version.to_string()]
        } else {
            let versions = harness.run_pending_migrations(migrations).unwrap();
            versions.iter().map(ToString::to_string).collect()
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn ours(database: &TestDatabase, folder: &Path) -> Migrator {
    let url = DirectUrl::parse(&database.url()).unwrap();
    Migrator::new(url, MigrationSource::directory(folder))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_goes_on_where_the_other_has_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mixed, by_diesel) = (
        TestDatabase::empty().await.unwrap(),
        TestDatabase::empty().await.unwrap(),
    );
    let forms = [
        None,
        Some("run_in_transaction = true"),
        Some("run_in_transaction = false"),
        Some("run_in_transaction = true\n\n[dbctl]\nphase = \"contract\"\nlock_timeout = \"5s\"\n"),
    ];
    for (version, metadata) in (1..).zip(forms) {
        write(
            folder,
            version,
            &format!("create table t{version}()"),
            metadata,
        );
        if version % 2 == 1 {
            assert_eq!(diesel(&mixed, folder, false).await.len(), 1, "{metadata:?}");
        } else {
            assert_eq!(
                ours(&mixed, folder).run().await.unwrap().len(),
                1,
                "{metadata:?}"
            );
        }
    }
    assert_eq!(diesel(&by_diesel, folder, false).await.len(), 4);
    assert_eq!(server_state(&mixed).await, server_state(&by_diesel).await);
    ours(&mixed, folder).assert_up_to_date().await.unwrap();
    ours(&by_diesel, folder).assert_up_to_date().await.unwrap();

    // Each reverts what the other has applied.
    assert_eq!(diesel(&mixed, folder, true).await, ["20260104000000"]);
    assert_eq!(
        ours(&mixed, folder).revert(1).await.unwrap()[0].version,
        "20260103000000"
    );
    assert_eq!(ours(&by_diesel, folder).revert(2).await.unwrap().len(), 2);
    assert_eq!(server_state(&mixed).await, server_state(&by_diesel).await);
    assert_eq!(ours(&mixed, folder).run().await.unwrap().len(), 2);

    let columns = "SELECT array_agg(column_name || ' ' || data_type || ' ' || is_nullable ORDER BY 1) \
                   FROM information_schema.columns WHERE table_name = '__diesel_schema_migrations'";
    let (mixed, theirs) = (
        mixed.scalar::<Vec<String>>(columns).await.unwrap(),
        by_diesel.scalar::<Vec<String>>(columns).await.unwrap(),
    );
    assert_eq!(mixed, theirs);
}

/// What diesel's harness does with a source of ours.
async fn by_harness(database: &TestDatabase, source: MigrationSource) -> usize {
    let conn = AsyncPgConnection::establish(&database.url()).await.unwrap();
    let work = move || {
        let mut harness = AsyncMigrationHarness::new(conn);
        harness.run_pending_migrations(source).unwrap().len()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_of_either_is_a_source_of_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let outside = Some("run_in_transaction = false");
    write(folder, 1, "create table t1(a int);\n-- ü\n", None);
    write(
        folder,
        2,
        "create table t2(); create index concurrently t1_a on t1(a)",
        outside,
    );
    write(folder, 3, "create table t3()", None);
    fs::remove_file(folder.join("2026-01-03-000000_m3/down.sql")).unwrap();
    let (ours_alone, theirs_first, ours_first) = (
        TestDatabase::empty().await.unwrap(),
        TestDatabase::empty().await.unwrap(),
        TestDatabase::empty().await.unwrap(),
    );
    ours(&ours_alone, folder).run().await.unwrap();

    // diesel's source in our migrator: the same texts, so that the checksums are the same too.
    let files = FileBasedMigrations::from_path(folder).unwrap();
    let source = MigrationSource::of_diesel(&files).unwrap();
    let url = DirectUrl::parse(&theirs_first.url()).unwrap();
    let migrator = Migrator::new(url, source);
    assert_eq!(migrator.run().await.unwrap().len(), 3);
    let status = ours(&theirs_first, folder).status().await.unwrap();
    assert!(
        status
            .iter()
            .all(|m| m.checksum.unwrap().as_str() == "same"),
        "{status:?}"
    );
    assert_eq!(
        server_state(&theirs_first).await,
        server_state(&ours_alone).await
    );
    assert!(matches!(
        migrator.revert(1).await,
        Err(MigrateError::Irreversible { .. })
    ));

    // Our source in diesel's harness.
    let source = MigrationSource::directory(folder);
    assert_eq!(by_harness(&ours_first, source.clone()).await, 3);
    assert_eq!(by_harness(&ours_first, source).await, 0);
    assert_eq!(
        server_state(&ours_first).await,
        server_state(&ours_alone).await
    );
    ours(&ours_first, folder).assert_up_to_date().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_diesel_applied_has_no_checksum_and_that_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, "create table t1()", None);
    let database = TestDatabase::empty().await.unwrap();
    diesel(&database, folder.path(), false).await;
    write(folder.path(), 1, "create table t1(a int)", None);
    let status = ours(&database, folder.path()).status().await.unwrap();
    assert_eq!(status[0].checksum.unwrap().as_str(), "unknown");
    ours(&database, folder.path())
        .assert_up_to_date()
        .await
        .unwrap();

    write(folder.path(), 2, "create table t2()", Some(""));
    let error = ours(&database, folder.path())
        .run()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("`run_in_transaction = false`"), "{error}");
}
