//! A migrator that logs in as the user of the pools has its secret from where they have theirs.

use std::fs;

use app_db::{
    Config, CredentialSource, Credentials, CredentialsError, Database, EmbeddedMigration, Fetched,
    MigrationSource, Migrator,
};
use harness::TestDatabase;

use super::{Secrets, json, sourced};

/// The URL of a user with a password that no server knows, or that it does.
fn direct(db: &TestDatabase, user: &str, password: &str) -> String {
    harness::url(db.server().port(), db.name(), user, password)
}

fn migrator(config: &Config, names: &[&'static str]) -> Migrator {
    let migrations = names.iter().map(|name| {
        let table = name.replace('-', "_");
        EmbeddedMigration::new(*name, format!("create table t{table}()"))
    });
    let source = MigrationSource::embedded(migrations);
    Migrator::from_config(config).unwrap().with_source(source)
}

/// case R40: a run long after the start logs in with the secret of that time; a refused one has its fallback.
#[tokio::test]
async fn each_run_uses_the_secret_of_its_time() {
    let db = TestDatabase::empty().await.unwrap();
    let name = db.role().name();
    let secrets = Secrets::new();
    let path = secrets.put("password", &db.password());
    let url = direct(&db, name, "nobody");
    let config = sourced(&db, "file", &path, &[("DATABASE_URL_DIRECT", &url)]);
    let (first, second) = (
        migrator(&config, &["1-a"]),
        migrator(&config, &["1-a", "2-b"]),
    );
    assert_eq!(first.run().await.unwrap().len(), 1);

    db.set_password("second1").await.unwrap();
    secrets.put("password", "second1");
    assert_eq!(second.run().await.unwrap().len(), 1);

    db.set_password("third1").await.unwrap();
    secrets.put("password.next", "third1");
    assert_eq!(second.status().await.unwrap().len(), 2);

    // What the source cannot deliver is told as that, with nothing of the URL's.
    fs::remove_file(&path).unwrap();
    let error = second.run().await.unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
}

/// A migrator of another user goes by its own URL, whatever the source is like.
#[tokio::test]
async fn another_user_goes_by_its_own_url() {
    let db = TestDatabase::empty().await.unwrap();
    let owner = db.add_role().await.unwrap();
    let secrets = Secrets::new();
    let url = direct(&db, owner.name(), &owner.password());
    let more = [("DATABASE_URL_DIRECT", &*url)];
    let config = sourced(&db, "file", &secrets.path("none"), &more);
    assert_eq!(migrator(&config, &["1-a"]).run().await.unwrap().len(), 1);
}

/// A service that migrates at its start does so with its source, also with one of its own.
#[tokio::test]
async fn a_service_that_migrates_at_its_start_asks_its_source() {
    struct Provider(Credentials);

    impl CredentialSource for Provider {
        async fn fetch(&self) -> Result<Fetched, CredentialsError> {
            Ok(Fetched::new(self.0.clone()))
        }
    }

    let db = TestDatabase::empty().await.unwrap();
    let (name, password) = (db.role().name(), db.password());
    let secrets = Secrets::new();
    let path = secrets.put("secret", &json(name, &password));
    let folder = secrets.path("migrations");
    let url = direct(&db, name, "nobody");
    let more = [
        ("DATABASE_URL_DIRECT", &*url),
        ("APP_DB__MIGRATIONS__DIRECTORY", folder.to_str().unwrap()),
        ("APP_DB__MIGRATIONS__MIGRATE_ON_START", "on"),
    ];
    let add = |migration: &str| {
        let migration = folder.join(migration);
        fs::create_dir_all(&migration).unwrap();
        let table = migration.file_name().unwrap().to_str().unwrap();
        fs::write(migration.join("up.sql"), format!("create table t{table}()")).unwrap();
    };
    add("1_a");
    let opened = Database::connect(&sourced(&db, "file", &path, &more));
    assert!(opened.await.unwrap().schema().await.unwrap().is_ready());

    add("2_b");
    let config = sourced(&db, "provider", &path, &more);
    let provider = Provider(Credentials::new(name, password));
    let opened = Database::connect_with_credentials(&config, provider);
    assert!(opened.await.unwrap().schema().await.unwrap().is_ready());
}
