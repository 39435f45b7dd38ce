//! A file with a secret that is not as it should be: the credentials in place serve, and one event names the file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use harness::{TestDatabase, wait_until};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::{Secrets, generation, json, log_in, open, reaches_generation, sourced, user};
use crate::SOON;
use crate::at_rest::watched;
use crate::captured::Captured;

const FAILED: &str = "the credentials cannot be fetched; those in place stay";

/// case R46: BOM and line ends are no part of the secret.
#[tokio::test]
async fn what_an_editor_leaves_is_no_part_of_the_secret() {
    let db = TestDatabase::empty().await.unwrap();
    let secrets = Secrets::new();
    let password = db.password();
    let (name, url) = (db.role().name(), db.url());
    for text in [
        password.clone(),
        format!("\u{feff}{password}\r\n"),
        format!("{password}\n\n"),
        format!("\u{feff}{}\r\n", json(name, &password)),
        format!("{url}\n"),
        format!(
            r#"{{"username":"{name}","password":"{password}","host":"elsewhere","port":5432}}"#
        ),
        format!(
            r#"{{"lease_duration":3600,"data":{{"username":"{name}","password":"{password}"}}}}"#
        ),
    ] {
        let path = secrets.put("secret", &text);
        let database = open(&sourced(&db, "file", &path, &[])).await;
        assert_eq!(database.read(user).await.unwrap(), name);
    }
}

/// case R42, case R46: whatever is wrong with it, the old one serves, and one event an episode names the path.
#[tokio::test]
async fn a_file_that_cannot_be_used_changes_nothing_and_is_named_once() {
    let db = TestDatabase::empty().await.unwrap();
    let secrets = Secrets::new();
    let good = json(db.role().name(), &db.password());
    let path = secrets.put("secret", &good);
    let database = watched(&db, open(&sourced(&db, "file", &path, &[])).await).with_sessions(21);
    let breaks: [(&str, &dyn Fn()); 6] = [
        ("is empty", &|| drop(secrets.put("secret", "\r\n"))),
        ("is not in a format", &|| {
            drop(secrets.put("secret", &good[..good.len() - 3]));
        }),
        ("cannot be read", &|| fs::remove_file(&path).unwrap()),
        ("cannot be read", &|| {
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
        }),
        ("cannot be read", &|| {
            fs::remove_file(&path).unwrap();
            symlink(&path, &path).unwrap();
        }),
        ("is longer than 64 kB", &|| {
            drop(secrets.put("secret", &"x".repeat(70_000)));
        }),
    ];
    for (what, break_it) in breaks {
        let (captured, guard) = Captured::begin();
        break_it();
        captured.hears(FAILED).await;
        let failures = database.credentials().failed_fetches;
        // The source is asked again and again, and nobody tells of it again.
        wait_until("it is tried again", SOON, async || {
            database.credentials().failed_fetches > failures
        })
        .await;
        assert_eq!(database.read(user).await.unwrap(), db.role().name());
        assert_eq!(generation(&database), 1);
        let told = captured.events("app_db::credentials");
        let told: Vec<_> = told
            .iter()
            .filter(|event| event.get("message") == Some(FAILED))
            .collect();
        assert_eq!(told.len(), 1, "{told:#?}");
        let error = told[0].get("error").unwrap();
        assert!(
            error.contains(what) && error.contains(path.to_str().unwrap()),
            "{error}"
        );
        // A file is not put in the place of a directory.
        let _none = fs::remove_dir(&path);
        secrets.put("secret", &good);
        captured.hears("the credentials can be fetched again").await;
        drop(guard);
    }
    db.set_password("second1").await.unwrap();
    secrets.put_json("secret", db.role().name(), "second1");
    reaches_generation(&database, 2).await;
    database.rests().await;
}

/// case R42, case R43: a directory that is gone is named once, and read again when it is back.
#[tokio::test]
async fn a_directory_that_is_gone_changes_nothing_and_is_named_once() {
    let db = TestDatabase::empty().await.unwrap();
    let secrets = Secrets::new();
    let directory = secrets.path("mounted");
    let mount = |password: &str| {
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("username"), db.role().name()).unwrap();
        fs::write(directory.join("password"), password).unwrap();
    };
    mount(&db.password());
    let config = sourced(&db, "directory", &directory, &[]);
    let database = watched(&db, open(&config).await).with_sessions(21);
    let (captured, guard) = Captured::begin();
    fs::remove_dir_all(&directory).unwrap();
    captured.hears(FAILED).await;
    wait_until("it is tried again", SOON, async || {
        database.credentials().failed_fetches > 1
    })
    .await;
    assert_eq!(log_in(&database).await.unwrap(), db.role().name());
    let told = captured.with_text(FAILED);
    assert_eq!(told.len(), 1, "{told:#?}");
    let error = told[0].get("error").unwrap();
    assert!(error.contains(directory.to_str().unwrap()), "{error}");
    db.set_password("second1").await.unwrap();
    mount("second1");
    reaches_generation(&database, 2).await;
    drop(guard);
    database.rests().await;
}

/// case R42: a file that this user may not read is named, and read again once it may.
#[test]
fn a_file_that_may_not_be_read_is_named() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let fixtures = runtime();
    let db = fixtures.block_on(TestDatabase::empty()).unwrap();
    let secrets = Secrets::new();
    let path = secrets.put_json("secret", db.role().name(), &db.password());
    let config = sourced(&db, "file", &path, &[]);
    // The threads that are made from here on may read what their user may, also where that is root.
    let mut sets = capabilities(None).unwrap();
    sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    set_capabilities(None, sets).unwrap();
    runtime().block_on(async {
        let database = open(&config).await;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        let error = database.refresh().await.unwrap_err().to_string();
        assert!(
            error.contains("permission denied") && error.contains(path.to_str().unwrap()),
            "{error}"
        );
        assert_eq!(database.read(user).await.unwrap(), db.role().name());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        database.refresh().await.map(drop).unwrap();
        assert_eq!(generation(&database), 1);
        database.shutdown(SOON).await;
    });
    fixtures.block_on(async { drop(db) });
}
