//! What a server refuses at login for good is an error of the configuration, said at once.

use std::time::{Duration, Instant};

use app_db::{Database, Kind};
use harness::{Bouncer, BouncerOptions, Cluster, ClusterOptions, PoolMode, TestDatabase};

use crate::transaction::config;

/// Refused for good, and in less time than a second attempt would take.
async fn assert_refused(url: &str, more: &[(&str, &str)], words: &str) {
    let began = Instant::now();
    let error = Database::connect(&config(url, more)).await.unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}: {error:?}",
        began.elapsed()
    );
    assert_eq!(error.kind(), Kind::Configuration, "{error:?}");
    assert!(error.report().contains(words), "{error:?}");
}

fn with(url: &str, parameter: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameter}")
}

#[tokio::test]
async fn a_role_or_setting_that_the_server_refuses_is_configuration_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    let url = db.url();
    assert_refused(&url, &[("APP_DB__PROFILE__ROLE", "nosuch")], "nosuch").await;
    for (option, words) in [
        ("options=-c%20nosuch_setting%3D1", "nosuch_setting"),
        ("options=-c%20work_mem%3Dmuch", "work_mem"),
        ("options=-c%20max_connections%3D5", "max_connections"),
    ] {
        assert_refused(&with(&url, option), &[], words).await;
    }
}

#[tokio::test]
async fn a_login_without_a_password_is_configuration_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    let without = db.url().replacen(&format!(":{}@", db.password()), "@", 1);
    assert!(!without.contains(&db.password()));
    assert_refused(&without, &[], "none is configured").await;
}

/// A standby has no serializable transactions, so that no statement of such a pool can ever run there.
#[tokio::test]
async fn serializable_by_default_on_a_standby_is_configuration_at_once() {
    let primary = Cluster::start(ClusterOptions::default()).await.unwrap();
    let standby = primary.replica("replica1").await.unwrap();
    let db = TestDatabase::empty_on(&primary).await.unwrap();
    standby.caught_up_with(&primary).await.unwrap();
    let serializable = [(
        "APP_DB__PROFILE__DEFAULT_TRANSACTION_ISOLATION",
        "serializable",
    )];
    let at_standby = harness::through_port(&db.url(), standby.port());
    assert_refused(&at_standby, &serializable, "serializable").await;
}

/// A pooler of session mode that takes no options, as all of them do, and a setting that the server refuses then.
#[tokio::test]
async fn a_setting_refused_behind_a_pooler_is_configuration_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    let options = BouncerOptions::mode(PoolMode::Session);
    let bouncer = Bouncer::start(db.server(), options).await.unwrap();
    let more = [
        ("APP_DB__PROFILE__POOLER", "session"),
        ("APP_DB__PROFILE__ROLE", "nosuch"),
    ];
    assert_refused(&db.pooled_url(&bouncer), &more, "nosuch").await;
}
