//! Two secrets may be valid: the one that works is used, and the former one is put back.

use std::time::{Duration, Instant};

use app_db::Credentials;
use harness::wait_until;

use super::{
    Secrets, generation, json, log_in, logging, open, reaches_generation, refusals, sourced, user,
};
use crate::SOON;
use crate::at_rest::watched;
use crate::captured::Captured;

const PUT_BACK: &str = "the former credentials are put back, as the server refuses the new ones";
const FALLBACK: &str = "the fallback credentials are in use, as the server refuses the others";

/// A new user that is locked out after it has worked: back on the former one within two seconds, with one warning.
#[tokio::test]
async fn the_former_secret_is_put_back_when_the_new_one_stops_working() {
    let (cluster, db) = logging().await;
    let second = db.add_role().await.unwrap();
    let secrets = Secrets::new();
    let path = secrets.put_json("secret", db.role().name(), &db.password());
    // Idle connections of the former user are gone as soon as the new one is in place.
    let more = [("APP_DB__CREDENTIALS__DRAIN_SPREAD", "0s")];
    let database = watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(21);
    secrets.put_json("secret", second.name(), &second.password());
    reaches_generation(&database, 2).await;
    assert_eq!(log_in(&database).await.unwrap(), second.name());

    let (captured, guard) = Captured::begin();
    let began = Instant::now();
    for _ in 0..5 {
        log_in(&database).await.unwrap();
    }
    // Two seconds, or what logins take on a slow machine: one is refused, one proves, one is the caller's.
    let in_time = Duration::from_secs(2).max(began.elapsed() * 2);
    second.set_password(&cluster, "other1").await.unwrap();
    let revoked = Instant::now();
    // A caller who needs a login waits for what is found, and does not fail.
    assert_eq!(log_in(&database).await.unwrap(), db.role().name());
    assert!(revoked.elapsed() < in_time, "{:?}", revoked.elapsed());
    assert_eq!(generation(&database), 3);
    for _ in 0..20 {
        assert_eq!(log_in(&database).await.unwrap(), db.role().name());
    }
    let warnings = captured.events("app_db::credentials");
    let warnings = warnings
        .iter()
        .filter(|event| event.get("message") == Some(PUT_BACK));
    assert_eq!(warnings.count(), 1);
    drop(guard);
    let refused = refusals(&cluster, &second);
    assert!((1..=3).contains(&refused), "{refused}");

    // What the source delivers is in use again as soon as it says something that works.
    secrets.put_json("secret", second.name(), "other1");
    reaches_generation(&database, 4).await;
    assert_eq!(log_in(&database).await.unwrap(), second.name());
    database.rests().await;
}

/// The same where the service has brought the new one itself.
#[tokio::test]
async fn what_rotate_has_replaced_is_put_back_too() {
    let (_cluster, db) = logging().await;
    let second = db.add_role().await.unwrap();
    let database = crate::transaction::database(&db.url(), &[]).await;
    let database = watched(&db, database).with_sessions(21);
    let credentials = Credentials::new(second.name(), second.password());
    database.rotate(credentials).await.unwrap().drained().await;
    let locked = format!("ALTER ROLE {} NOLOGIN", second.name());
    db.server().sql(&locked).await.unwrap();
    // The one that the drain has made works on; the next one needs a login.
    assert_eq!(log_in(&database).await.unwrap(), second.name());
    assert_eq!(log_in(&database).await.unwrap(), db.role().name());
    assert_eq!(generation(&database), 3);
    database.rests().await;
}

/// A secret that stands by is used where the first one is refused, and it is said.
#[tokio::test]
async fn the_secret_that_stands_by_is_used() {
    let (_cluster, db) = logging().await;
    let password = db.password();
    let name = db.role().name();
    let fallback = format!(
        r#"{{"username":"{name}","password":"pending","fallback":{{"username":"{name}","password":"{password}"}}}}"#
    );
    let secrets = Secrets::new();
    let in_json = secrets.put("secret", &fallback);
    let in_file = secrets.put("password", "pending");
    secrets.put("password.next", &password);
    let directory = Secrets::new();
    directory.mount(
        "..1",
        &[
            ("username", name),
            ("password", "pending"),
            ("password.next", &password),
        ],
    );
    for (source, path) in [
        ("file", &in_json),
        ("file", &in_file),
        ("directory", &directory.0.path().to_owned()),
    ] {
        let (captured, guard) = Captured::begin();
        let database = open(&sourced(&db, source, path, &[])).await;
        assert_eq!(database.read(user).await.unwrap(), name);
        captured.hears(FALLBACK).await;
        drop(guard);
    }
}

/// A secret that is fetched at a refusal is tried before the former ones.
#[tokio::test]
async fn a_refusal_fetches_before_it_looks_back() {
    let (cluster, db) = logging().await;
    let secrets = Secrets::new();
    let path = secrets.put_json("secret", db.role().name(), &db.password());
    // Nothing looks at the file by itself.
    let more = [("APP_DB__CREDENTIALS__POLL", "1h")];
    let database = watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(21);
    db.set_password("second1").await.unwrap();
    secrets.put("secret", &json(db.role().name(), "second1"));
    database.get().await.unwrap().discard();
    let name = log_in(&database).await.unwrap();
    assert_eq!(
        (name.as_str(), generation(&database)),
        (db.role().name(), 2)
    );
    assert_eq!(refusals(&cluster, db.role()), 1);
    // `refresh` does without a refusal.
    db.set_password("third1").await.unwrap();
    secrets.put("secret", &json(db.role().name(), "third1"));
    let refreshed = database.refresh().await.unwrap();
    assert!(
        matches!(refreshed, app_db::Refresh::Rotated(_)),
        "{refreshed:?}"
    );
    assert!(matches!(
        database.refresh().await.unwrap(),
        app_db::Refresh::Unchanged
    ));
    wait_until("the new one works", SOON, async || {
        log_in(&database).await.is_ok()
    })
    .await;
    assert_eq!(refusals(&cluster, db.role()), 1);
    database.rests().await;
}
