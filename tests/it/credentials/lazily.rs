//! Pools that are made without a server: their source is asked before their first login.

use app_db::Database;
use harness::{Stop, wait_until};

use super::{Secrets, generation, logging, refusals, sourced, user};
use crate::SOON;
use crate::at_rest::watched;

/// case R42: the server is down when the pools are made, and the file has no secret yet; nothing of the URL's is tried.
#[tokio::test]
async fn the_source_is_asked_before_the_first_login() {
    for refresh in ["timer", "lazy"] {
        let (cluster, db) = logging().await;
        let secrets = Secrets::new();
        let path = secrets.put_json("secret", db.role().name(), &db.password());
        cluster.stop(Stop::Fast).await.unwrap();
        let more = [
            ("APP_DB__CREDENTIALS__REFRESH", refresh),
            ("APP_DB__RECONNECT__BASE_DELAY", "100ms"),
            ("APP_DB__RECONNECT__MAX_DELAY", "200ms"),
        ];
        let config = sourced(&db, "file", &path, &more);
        let database = watched(&db, Database::connect_lazy(&config).unwrap()).with_sessions(22);
        assert!(!database.health().await.is_ready());
        cluster.start_again().await.unwrap();
        wait_until("it is ready", SOON, async || {
            database.health().await.is_ready()
        })
        .await;
        assert_eq!(database.read(user).await.unwrap(), db.role().name());
        assert_eq!(refusals(&cluster, db.role()), 0);

        db.set_password("second1").await.unwrap();
        secrets.put_json("secret", db.role().name(), "second1");
        let before = generation(&database);
        database.refresh().await.unwrap();
        assert_eq!(generation(&database), before + 1);
        database.rests().await;
    }
}

/// A provider has to be brought, which is said at once.
#[test]
fn a_provider_that_nobody_brings_is_asked_for_without_a_runtime() {
    let config = crate::transaction::config(
        "postgres://u:p@127.0.0.1:1/d",
        &[("APP_DB__CREDENTIALS__SOURCE", "provider")],
    );
    let error = Database::connect_lazy(&config).unwrap_err();
    assert!(
        error.to_string().contains("connect_with_credentials"),
        "{error}"
    );
}
