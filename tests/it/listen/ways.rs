//! The ways to the server: TCP, TLS, a Unix socket, past a pooler; and names.

use std::os::unix::fs::PermissionsExt;

use app_db::{Kind, SqlState};
use harness::{
    Authority, Bouncer, BouncerOptions, Cluster, ClusterOptions, PoolMode, TestDatabase,
};

use super::*;
use crate::transaction::{config, database};

/// diesel_async#251: over a Unix socket diesel-async hears nothing, and no error comes.
#[tokio::test]
async fn notifications_are_heard_over_tls_tcp_and_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = folder.path().to_str().unwrap();
    let authority = Authority::new().unwrap();
    let options = ClusterOptions::default()
        .tls(authority.server().unwrap())
        .setting("unix_socket_directories", path)
        .hba("local all all scram-sha-256");
    let cluster = Cluster::start(options).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let url = |parameters: &str| format!("{}?{parameters}", db.url());
    let socket = db.url().replace("127.0.0.1", &path.replace('/', "%2F"));
    for (way, is_encrypted) in [
        (url("sslmode=disable"), Some(false)),
        (url("sslmode=require"), Some(true)),
        (socket, None),
    ] {
        let database = database(&way, &[]).await;
        let mut orders = listening(&database).await;
        assert_is_heard(&db, &mut orders, &way.replace(&db.password(), "")).await;

        let pid = listeners(&db).await[0].pid;
        let seen = format!(
            "select string_agg(s.ssl::text, '') from pg_stat_activity a join pg_stat_ssl s using (pid) \
             where a.pid = {pid} and a.client_port <> -1"
        );
        let seen: Option<String> = db.scalar(&seen).await.unwrap();
        assert_eq!(seen, is_encrypted.map(|is| is.to_string()), "{way}");
        drop(orders);
        gone(&db).await;
    }
}

async fn gone(db: &TestDatabase) {
    harness::wait_until("the listener is gone", SOON, async || {
        listeners(db).await.is_empty()
    })
    .await;
}

/// Behind a pooler in transaction mode, LISTEN would belong to the next client of the session, and nothing
/// would be heard.
#[tokio::test]
async fn a_listener_goes_past_the_pooler_or_says_that_it_cannot() {
    let db = TestDatabase::empty().await.unwrap();
    let options = BouncerOptions::mode(PoolMode::Transaction);
    let bouncer = Bouncer::start(db.server(), options).await.unwrap();
    let pooled = db.pooled_url(&bouncer);
    let way = [("DATABASE_URL_DIRECT", &*db.url())];
    let passing = database(&pooled, &way).await;
    let mut orders = listening(&passing).await;
    assert_is_heard(&db, &mut orders, "past it").await;

    let way = [("DATABASE_URL_DIRECT", &*pooled)];
    let misled = database(&pooled, &way).await;
    let error = next(&mut misled.listen(["orders"])).await;
    let error = error.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
    let said = error.to_string();
    assert!(said.contains("pool `listen`"), "{said}");
    let source = std::error::Error::source(&error).map(ToString::to_string);
    let said = format!("{said} {}", source.unwrap_or_default());
    assert!(said.contains("leads to a pooler"), "{said}");
    assert!(said.contains("set DATABASE_URL_DIRECT"), "{said}");
    // It has left no LISTEN in a session of the pooler's.
    let left = "select count(*) from pg_stat_activity where query like 'LISTEN%' and backend_type = 'client backend'";
    assert_eq!(db.scalar::<i64>(left).await.unwrap(), 1);

    // In session mode the session is the client's own, and the profile says that it is.
    let options = BouncerOptions::mode(PoolMode::Session);
    let sessions = Bouncer::start(db.server(), options).await.unwrap();
    let way = db.pooled_url(&sessions);
    let more = [
        ("DATABASE_URL_DIRECT", &*way),
        ("APP_DB__PROFILE__POOLER", "session"),
    ];
    let database = database(&way, &more).await;
    let mut orders = listening(&database).await;
    assert_is_heard(&db, &mut orders, "through it").await;
}

/// In production the direct URL has to be set; the stream says so once, and ends.
#[tokio::test]
async fn without_a_direct_url_the_stream_says_what_to_set() {
    let db = TestDatabase::empty().await.unwrap();
    let more = [
        ("APP_ENV", "prod"),
        ("APP_DB__TLS__MODE", "disable"),
        ("APP_DB__PROFILE__MIN_IDLE", "0"),
    ];
    let database = Database::connect_lazy(&config(&db.url(), &more)).unwrap();
    let mut orders = database.listen(["orders"]);
    let error = next(&mut orders).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
    assert!(error.to_string().contains("DATABASE_URL_DIRECT"), "{error}");
    assert!(next(&mut orders).await.is_none());
}

/// Several channels, by their exact names, and names that the server would shorten or refuse.
#[tokio::test]
async fn channels_are_taken_by_their_exact_names() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let names = ["Orders", "say \"hi\"; drop table t", &"x".repeat(63)];
    let mut listener = database.listen(names);
    assert_eq!(gap(&mut listener).await, Gap::Beginning);
    db.sql("notify orders, 'somebody else''s'").await.unwrap();
    for name in names {
        db.sql(&format!("select pg_notify('{name}', 'to {name}')"))
            .await
            .unwrap();
        let expected = (name.to_owned(), format!("to {name}"));
        assert_eq!(notification(&mut listener).await, expected);
    }

    for wrong in ["", "with\0zero", &"x".repeat(64)] {
        let mut listener = database.listen(["orders", wrong]);
        let error = next(&mut listener).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration, "{error}");
        assert!(error.to_string().contains("cannot listen"), "{error}");
        assert!(next(&mut listener).await.is_none());
    }
    let mut nothing = database.listen([""; 0]);
    assert!(next(&mut nothing).await.unwrap().is_err());
}

/// Refused credentials are reported, and the credentials of a rotation are used.
#[tokio::test]
async fn refused_credentials_are_said_until_a_rotation_brings_others() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    db.set_password("another1").await.unwrap();
    let mut orders = database.listen(["orders"]);
    let error = next(&mut orders).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
    assert_eq!(error.sqlstate(), Some(SqlState::INVALID_PASSWORD));

    let credentials = app_db::Credentials::new(db.role().name(), "another1");
    let _rotation = database.rotate(credentials).await.unwrap();
    assert_eq!(gap(&mut orders).await, Gap::Beginning);
    assert_is_heard(&db, &mut orders, "with the new password").await;
}
