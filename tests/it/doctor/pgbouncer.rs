//! What `dbctl doctor` learns from PgBouncer's console, where it may ask it.

use harness::{Bouncer, BouncerOptions, PoolMode, TestDatabase, wait_until};

use super::{advice, doctor, json, new};
use crate::SOON;

/// A PgBouncer with two server connections, whose console answers this database's role.
async fn telling(database: &TestDatabase, mode: PoolMode) -> Bouncer {
    let options = BouncerOptions::mode(mode)
        .pool_size(2)
        .stats_user(database.role().name(), &database.password())
        .setting("client_idle_timeout", "60")
        .binary(new());
    Bouncer::start(database.server(), options).await.unwrap()
}

/// req 4.13, req 4.14, req 4.35: mode, size and times of PgBouncer are compared with the pools.
#[tokio::test]
async fn pgbouncers_own_settings_are_compared() {
    let database = TestDatabase::empty().await.unwrap();
    let bouncer = telling(&database, PoolMode::Session).await;
    let dbctl = doctor(&database.pooled_url(&bouncer), &database.url());
    let report = json(&dbctl.run("doctor --json").await.ended_with(1));
    let figures = &report["endpoints"][0]["pooler_figures"];
    assert_eq!(
        (&figures["mode"], &figures["size"]),
        (&"session".into(), &2.into())
    );
    for (word, level) in [
        (
            "client_idle_timeout is 60s: set max_lifetime below that",
            "problem",
        ),
        ("which has 2 server connections for them", "note"),
        ("pooler = \"session\" saves pool `write`", "note"),
    ] {
        let found = advice(&report, word);
        assert_eq!(
            (found.len(), found[0].0.as_str()),
            (1, level),
            "{word}: {report:#}"
        );
    }
    let short = dbctl
        .with("APP_DB__PROFILE__MAX_LIFETIME", "50s")
        .with("APP_DB__POOLS__WRITE__MAX", "2")
        .with("APP_DB__PROFILE__POOLER", "session");
    let outcome = short.run("doctor").await.ended_with(0);
    assert!(
        outcome.stdout.contains("session mode; 0 clients wait"),
        "{outcome:?}"
    );
    assert!(
        !outcome.stdout.contains("client_idle_timeout"),
        "{outcome:?}"
    );
    assert!(
        !outcome.stdout.contains("server connections for them"),
        "{outcome:?}"
    );
}

/// req 4.35: no pool can see the clients in PgBouncer's queue; a long wait there is a problem.
#[tokio::test]
async fn clients_that_wait_at_pgbouncer_are_a_problem() {
    let database = TestDatabase::empty().await.unwrap();
    let bouncer = telling(&database, PoolMode::Transaction).await;
    let url = database.pooled_url(&bouncer);
    let mut holders = Vec::new();
    for _ in 0..2 {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        harness::beside(async move { drop(connection.await) });
        client.batch_execute("begin").await.unwrap();
        holders.push(client);
    }
    let (third, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    harness::beside(async move { drop(connection.await) });
    let waiting = tokio::spawn(async move { third.batch_execute("select 1").await });
    wait_until("it has waited for long", SOON, async || {
        let pools = bouncer.show("POOLS").await.unwrap();
        pools
            .iter()
            .any(|pool| pool["maxwait"].parse::<u64>().unwrap() >= 1)
    })
    .await;
    // The pooler answers nothing that goes through it, but its console answers.
    let dbctl = doctor(&url, &database.url()).with("APP_DB__PROFILE__CONNECT_TIMEOUT", "500ms");
    let report = json(&dbctl.run("doctor --json").await.ended_with(8));
    let found = advice(&report, "wait at PgBouncer for a server connection");
    assert_eq!((found.len(), &*found[0].0), (1, "problem"), "{report:#}");
    holders.clear();
    waiting.await.unwrap().unwrap();
}

/// It is no problem if PgBouncer does not answer this user, and its message has no secret.
#[tokio::test]
async fn a_pgbouncer_that_does_not_tell_is_said_to_be_so() {
    let database = TestDatabase::empty().await.unwrap();
    let options = BouncerOptions::mode(PoolMode::Transaction).binary(new());
    let bouncer = Bouncer::start(database.server(), options).await.unwrap();
    let dbctl = doctor(&database.pooled_url(&bouncer), &database.url());
    let report = json(
        &dbctl
            .run("doctor --json")
            .await
            .ended_with(0)
            .keeps(&database.password()),
    );
    let endpoint = &report["endpoints"][0];
    assert!(endpoint["pooler_figures"].is_null(), "{endpoint:#}");
    assert!(endpoint["pooler_error"].is_string(), "{endpoint:#}");
    let outcome = dbctl.run("doctor").await.ended_with(0);
    for said in ["gives no figures: ", "stats_users"] {
        assert!(outcome.stdout.contains(said), "{outcome:?}");
    }
}
