//! A secret is proved wherever the pools may need it, before any of them has it.

use app_db::{Database, Kind};
use harness::{Cluster, ClusterOptions, TestDatabase, through_port};

use super::{Secrets, generation, log_in, open, sourced, sourced_at, user};
use crate::at_rest::watched;

async fn refuses_what_is_new(database: &Database) {
    let error = database.refresh().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration, "{error:?}");
    assert_eq!(generation(database), 1);
    log_in(database).await.unwrap();
}

/// req 4.44, case R41: a new user that may log in and may not take on the role of the pool is refused, and tried no more
/// often than one with a wrong password.
#[tokio::test]
async fn a_user_without_the_right_to_the_role_is_refused() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    let (name, owner) = (db.role().name(), format!("{}_owner", db.role().name()));
    // The second one is a member of the first no more, and so of no owner.
    let roles = format!(
        "CREATE ROLE {owner}; GRANT {owner} TO {name}; REVOKE {name} FROM {}",
        second.name()
    );
    db.sql(&roles).await.unwrap();
    let secrets = Secrets::new();
    let path = secrets.put_json("secret", name, &db.password());
    let more = [
        ("APP_DB__PROFILE__ROLE", &*owner),
        ("APP_DB__CREDENTIALS__POLL", "1h"),
    ];
    let database = watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(21);
    secrets.put_json("secret", second.name(), &second.password());
    refuses_what_is_new(&database).await;
    assert_eq!(database.credentials().refusals, 1);

    db.sql(&format!("GRANT {owner} TO {}", second.name()))
        .await
        .unwrap();
    // It is tried again where somebody asks.
    let refreshed = database.refresh().await.unwrap();
    assert!(
        matches!(refreshed, app_db::Refresh::Rotated(_)),
        "{refreshed:?}"
    );
    database.rests().await;
    let drop_owner = format!("DROP OWNED BY {owner}; DROP ROLE {owner}");
    db.sql(&drop_owner).await.unwrap();
}

/// case R40: of a list of hosts each one has to know the secret; one that is down says nothing.
#[tokio::test]
async fn every_host_of_a_list_has_to_know_the_secret() {
    let db = TestDatabase::empty().await.unwrap();
    let name = db.role().name();
    let other = Cluster::start(ClusterOptions::default()).await.unwrap();
    for statement in [
        format!("CREATE ROLE {name} LOGIN PASSWORD '{}'", db.password()),
        format!("CREATE DATABASE {}", db.name()),
    ] {
        other.sql(&statement).await.unwrap();
    }
    let secrets = Secrets::new();
    let path = secrets.put("password", &db.password());
    let hosts = format!(
        "127.0.0.1:{},127.0.0.1:{}/",
        db.server().port(),
        other.port()
    );
    let url = through_port(&db.url(), 1).replace("127.0.0.1:1/", &hosts);
    let more = [("APP_DB__CREDENTIALS__POLL", "1h")];
    let database = open(&sourced_at(&url, "file", &path, &more)).await;
    let database = watched(&db, database).with_sessions(21);
    assert_eq!(database.read(user).await.unwrap(), name);
    db.set_password("second1").await.unwrap();
    secrets.put("password", "second1");
    refuses_what_is_new_at_one(&database).await;
    other
        .sql(&format!("ALTER ROLE {name} PASSWORD 'second1'"))
        .await
        .unwrap();
    let refreshed = database.refresh().await.unwrap();
    assert!(
        matches!(refreshed, app_db::Refresh::Rotated(_)),
        "{refreshed:?}"
    );

    other.stop(harness::Stop::Immediate).await.unwrap();
    db.set_password("third1").await.unwrap();
    secrets.put("password", "third1");
    let refreshed = database.refresh().await.unwrap();
    assert!(
        matches!(refreshed, app_db::Refresh::Rotated(_)),
        "{refreshed:?}"
    );
    database.rests().await;
}

async fn refuses_what_is_new_at_one(database: &Database) {
    let error = database.refresh().await.unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "28P01");
    assert_eq!(generation(database), 1);
}
