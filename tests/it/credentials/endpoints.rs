//! Host and port may come with the secret, as long as they lead to the same cluster.

use app_db::{Kind, Refresh};
use harness::{Cluster, ClusterOptions, TestDatabase, wait_until};

use super::{Secrets, generation, open, sourced, user};
use crate::SOON;
use crate::at_rest::watched;

fn placed(db: &TestDatabase, password: &str, host: &str, port: u16) -> String {
    serde_json::json!({
        "username": db.role().name(),
        "password": password,
        "host": host,
        "port": port,
        "dbname": "ignored",
    })
    .to_string()
}

/// The host of another cluster comes with a secret that even works there: it is refused, and nothing has changed.
#[tokio::test]
async fn a_secret_that_leads_to_another_cluster_is_refused() {
    let db = TestDatabase::empty().await.unwrap();
    let other = Cluster::start(ClusterOptions::default().unrelated())
        .await
        .unwrap();
    let name = db.role().name();
    other
        .sql(&format!("CREATE ROLE {name} LOGIN PASSWORD 'second1'"))
        .await
        .unwrap();
    other
        .sql(&format!("CREATE DATABASE {}", db.name()))
        .await
        .unwrap();
    for first in [None, Some(db.server().port())] {
        let secrets = Secrets::new();
        let password = db.password();
        let begin = match first {
            Some(port) => placed(&db, &password, "127.0.0.1", port),
            None => super::json(name, &password),
        };
        let path = secrets.put("secret", &begin);
        let more = [("APP_DB__CREDENTIALS__POLL", "1h")];
        let database =
            watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(21);
        let address = database.pool("write").unwrap().address();

        secrets.put("secret", &placed(&db, "second1", "127.0.0.1", other.port()));
        let error = database.refresh().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration);
        assert!(error.to_string().contains("another cluster"), "{error}");
        assert_eq!(generation(&database), 1);
        assert_eq!(database.pool("write").unwrap().address(), address);
        assert_eq!(database.read(user).await.unwrap(), name);
        let strangers: i64 = other
            .scalar(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}'"
            ))
            .await
            .unwrap();
        assert_eq!(strangers, 0);
        database.rests().await;
    }
}

/// Another name of the same server is followed: after a failover the secret has it first.
#[tokio::test]
async fn a_secret_that_leads_to_the_same_cluster_is_followed() {
    let db = TestDatabase::empty().await.unwrap();
    let port = db.server().port();
    let secrets = Secrets::new();
    let path = secrets.put("secret", &placed(&db, &db.password(), "127.0.0.1", port));
    let more = [
        ("APP_DB__CREDENTIALS__POLL", "1h"),
        ("APP_DB__POOLS__BATCH__MAX", "2"),
    ];
    let database = watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(23);
    db.set_password("second1").await.unwrap();
    secrets.put("secret", &placed(&db, "second1", "localhost", port));
    let refreshed = database.refresh().await.unwrap();
    assert!(matches!(refreshed, Refresh::Rotated(_)), "{refreshed:?}");
    let moved = format!("localhost:{port}/{}", db.name());
    assert_eq!(database.pool("write").unwrap().address(), moved);
    // A pool that is opened later is where the others are.
    assert_eq!(database.pool("batch").unwrap().address(), moved);
    wait_until("it works", SOON, async || database.read(user).await.is_ok()).await;
    database.rests().await;
}

/// A URL that leads elsewhere than the secret, as to a pooler, is what counts.
#[tokio::test]
async fn a_url_that_names_another_host_wins() {
    let db = TestDatabase::empty().await.unwrap();
    let secrets = Secrets::new();
    let path = secrets.put(
        "secret",
        &placed(&db, &db.password(), "primary.example", 5432),
    );
    let more = [("APP_DB__CREDENTIALS__POLL", "1h")];
    let database = watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(21);
    let address = database.pool("write").unwrap().address();
    db.set_password("second1").await.unwrap();
    secrets.put("secret", &placed(&db, "second1", "other.example", 5432));
    database.refresh().await.map(drop).unwrap();
    assert_eq!(
        (
            generation(&database),
            database.pool("write").unwrap().address()
        ),
        (2, address)
    );
    database.rests().await;
}
