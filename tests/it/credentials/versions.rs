//! Secrets whose files are replaced: together, one shortly after the other, in the middle of being read.

use std::time::{Duration, Instant};

use app_db::Database;
use harness::{TestDatabase, wait_until};

use super::{Secrets, generation, logging, open, reaches_generation, refusals, sourced, user};
use crate::SOON;
use crate::at_rest::watched;

fn mounted(name: &str, password: &str) -> [(&'static str, String); 2] {
    [
        ("username", name.to_owned()),
        ("password", password.to_owned()),
    ]
}

fn mount(secrets: &Secrets, version: &str, name: &str, password: &str) {
    let files = mounted(name, password);
    let files: Vec<_> = files
        .iter()
        .map(|(file, value)| (*file, &**value))
        .collect();
    secrets.mount(version, &files);
}

/// case R43: a Secret that the kubelet swaps is fetched within two seconds, at the pace that is built in, and in use when
/// the server has accepted it.
#[tokio::test]
async fn a_swapped_secret_is_in_use_within_two_seconds() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    let secrets = Secrets::new();
    mount(&secrets, "..1", db.role().name(), &db.password());
    let more = [("APP_DB__CREDENTIALS__POLL", "1s")];
    let config = sourced(&db, "directory", secrets.0.path(), &more);
    let database = watched(&db, open(&config).await).with_sessions(21);
    assert_eq!(database.read(user).await.unwrap(), db.role().name());
    assert_eq!(database.credentials().source, "directory");

    let swapped = Instant::now();
    mount(&secrets, "..2", second.name(), &second.password());
    reaches_generation(&database, 2).await;
    // The logins after it take what they take.
    let fetched = swapped
        .elapsed()
        .saturating_sub(database.credentials().age.unwrap());
    assert!(fetched < Duration::from_secs(2), "{fetched:?}");
    wait_until("the new user is used", SOON, async || {
        database.read(user).await.unwrap() == second.name()
    })
    .await;
    database.rests().await;
}

/// case R43: of two swaps in a row the last one counts, and the server refuses the first one once at most.
#[tokio::test]
async fn of_two_swaps_in_a_row_the_last_one_counts() {
    let (cluster, db) = logging().await;
    let secrets = Secrets::new();
    mount(&secrets, "..1", db.role().name(), &db.password());
    // Nobody else logs in meanwhile: a keeper would be refused with the secret from before.
    let none_kept_ready = [("APP_DB__PROFILE__MIN_IDLE", "0")];
    let config = sourced(&db, "directory", secrets.0.path(), &none_kept_ready);
    let database = watched(&db, open(&config).await).with_sessions(21);
    for round in 0..3 {
        let before = generation(&database);
        let refused = refusals(&cluster, db.role());
        // The one that is swapped away was never valid.
        let (first, second) = (format!("first{round}"), format!("second{round}"));
        db.set_password(&second).await.unwrap();
        mount(&secrets, &format!("..a{round}"), db.role().name(), &first);
        tokio::time::sleep(Duration::from_millis(40)).await;
        mount(&secrets, &format!("..b{round}"), db.role().name(), &second);
        reaches_generation(&database, before + 1).await;
        let refused = refusals(&cluster, db.role()) - refused;
        assert!(refused <= 1, "{refused} refusals");
    }
    database.rests().await;
}

/// A binding of Service Binding, and a Secret of CloudNativePG with everything in it.
#[tokio::test]
async fn bindings_and_secrets_of_operators_are_understood() {
    let db = TestDatabase::empty().await.unwrap();
    let (port, name, password) = (
        db.server().port().to_string(),
        db.role().name(),
        db.password(),
    );
    let root = Secrets::new();
    for (binding, kind) in [("cache", "redis"), ("db", "postgresql")] {
        std::fs::create_dir(root.path(binding)).unwrap();
        root.put(&format!("{binding}/type"), &format!("{kind}\n"));
        for (file, value) in [
            ("username", name),
            ("password", &password),
            ("host", "127.0.0.1"),
            ("port", &port),
        ] {
            root.put(&format!("{binding}/{file}"), value);
        }
    }
    let root_path = root.0.path().to_str().unwrap();
    let of_root = [
        ("SERVICE_BINDING_ROOT", root_path),
        ("APP_DB__CREDENTIALS__PATH", ""),
    ];
    let bound = sourced(&db, "directory", root.0.path(), &of_root);
    let database: Database = open(&bound).await;
    assert_eq!(database.read(user).await.unwrap(), name);
    drop(database);

    let operator = Secrets::new();
    let uri = db.url();
    operator.mount(
        "..1",
        &[
            ("username", name),
            ("password", &password),
            ("host", "127.0.0.1"),
            ("port", &port),
            ("dbname", "app"),
            ("uri", &uri),
            ("pgpass", "127.0.0.1:5432:app:app:other"),
            ("type", "kubernetes.io/basic-auth"),
        ],
    );
    let database = open(&sourced(&db, "directory", operator.0.path(), &[])).await;
    assert_eq!(database.read(user).await.unwrap(), name);
}
