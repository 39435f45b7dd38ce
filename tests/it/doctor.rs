//! `dbctl doctor` in front of every kind of server it may meet.

mod endless;
mod pgbouncer;

use harness::{
    Bouncer, BouncerBinary, BouncerOptions, Cluster, ClusterOptions, PoolMode, TestDatabase,
};
use serde_json::Value;

use crate::dbctl::{Dbctl, Outcome};

/// Which loses prepared statements in transaction mode.
fn old() -> BouncerBinary {
    let old = BouncerBinary::older_than(1, 21);
    old.unwrap_or_else(|| panic!("no PgBouncer before 1.21; run `just setup`"))
}

/// Which keeps them.
fn new() -> BouncerBinary {
    let new = BouncerBinary::at_least(1, 21);
    new.unwrap_or_else(|| panic!("no PgBouncer from 1.21 on; run `just setup`"))
}

async fn bouncer(database: &TestDatabase, mode: PoolMode, binary: BouncerBinary) -> Bouncer {
    let options = BouncerOptions::mode(mode).binary(binary);
    Bouncer::start(database.server(), options).await.unwrap()
}

fn doctor(pooled: &str, direct: &str) -> Dbctl {
    Dbctl::new()
        .with("DATABASE_URL", pooled)
        .with("DATABASE_URL_DIRECT", direct)
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("no JSON: {outcome:?}"))
}

/// The levels and sentences of the advice that mention a word.
fn advice(report: &Value, word: &str) -> Vec<(String, String)> {
    let all = report["advice"].as_array().unwrap().iter();
    let text = |advice: &Value, key| advice[key].as_str().unwrap().to_owned();
    all.map(|advice| (text(advice, "level"), text(advice, "message")))
        .filter(|(_, message)| message.contains(word))
        .collect()
}

/// What it says about the pooled URL, with a correct direct URL.
async fn pooled(dbctl: &Dbctl, database: &TestDatabase) -> Value {
    let outcome = dbctl.run("doctor --json").await.ended_with(0);
    let report = json(&outcome.keeps(&database.password()));
    assert_eq!(report["healthy"], true, "{report:#}");
    assert_eq!(report["endpoints"][1]["pooler"], "none", "{report:#}");
    report["endpoints"][0].clone()
}

#[tokio::test]
async fn a_server_without_a_pooler_is_named_so() {
    let database = TestDatabase::empty().await.unwrap();
    let endpoint = pooled(&doctor(&database.url(), &database.url()), &database).await;
    assert_eq!(endpoint["pooler"], "none");
    assert_eq!(endpoint["statements"], "named");
}

#[tokio::test]
async fn an_old_pgbouncer_may_share_sessions_whatever_its_mode() {
    let database = TestDatabase::empty().await.unwrap();
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let bouncer = bouncer(&database, mode, old()).await;
        let dbctl = doctor(&database.pooled_url(&bouncer), &database.url());
        let endpoint = pooled(&dbctl, &database).await;
        assert_eq!(endpoint["pooler"], "shared", "{mode:?}");
        assert_eq!(endpoint["statements"], "unnamed", "{mode:?}");
    }
}

#[tokio::test]
async fn a_session_mode_is_believed_where_it_is_configured() {
    let database = TestDatabase::empty().await.unwrap();
    let bouncer = bouncer(&database, PoolMode::Session, old()).await;
    let dbctl = doctor(&database.pooled_url(&bouncer), &database.url())
        .with("APP_DB__PROFILE__POOLER", "session");
    let endpoint = pooled(&dbctl, &database).await;
    assert_eq!(endpoint["pooler"], "session");
    assert_eq!(endpoint["statements"], "named");
}

#[tokio::test]
async fn a_new_pgbouncer_is_proven_to_keep_names() {
    let database = TestDatabase::empty().await.unwrap();
    let bouncer = bouncer(&database, PoolMode::Transaction, new()).await;
    let endpoint = pooled(
        &doctor(&database.pooled_url(&bouncer), &database.url()),
        &database,
    )
    .await;
    assert_eq!(endpoint["pooler"], "shared_names_kept");
    assert_eq!(endpoint["statements"], "named");
}

/// Behind a pooler it says which ALTER ROLE saves the pool its settings, and is right about it.
#[tokio::test]
async fn it_says_which_alter_role_makes_the_server_have_the_settings() {
    let database = TestDatabase::empty().await.unwrap();
    let admin = database.server().admin().await.unwrap();
    let mut statements = String::new();
    for is_altered in [false, true] {
        let bouncer = bouncer(&database, PoolMode::Transaction, new()).await;
        let dbctl = doctor(&database.pooled_url(&bouncer), &database.url())
            .with("APP_DB__PROFILE__STATEMENT_TIMEOUT", "7s")
            .with("APP_DB__PROFILE__SEARCH_PATH", "\"Odd one\", public");
        let endpoint = pooled(&dbctl, &database).await;
        for pool in endpoint["pools"].as_array().unwrap() {
            let says = &pool["says"];
            let settings = says["settings"].as_array().unwrap();
            assert_eq!(settings.is_empty(), is_altered, "{pool:#}");
            assert_eq!(says["bytes"].as_u64() == Some(0), is_altered, "{pool:#}");
            assert!(says["microseconds"].is_number(), "{pool:#}");
        }
        let alters = endpoint["alter_role"].as_array().unwrap();
        assert_eq!(alters.is_empty(), is_altered, "{alters:?}");
        let alters = alters.iter().map(|one| one.as_str().unwrap());
        statements = alters.collect::<Vec<_>>().join("\n");
        if !is_altered {
            assert!(statements.contains("'7000ms'"), "{statements}");
            admin.batch_execute(&statements).await.unwrap();
        }
    }
    let role = database.role().name();
    let reset = format!("alter role {role} reset all");
    admin.batch_execute(&reset).await.unwrap();
    assert_eq!(statements, "");
}

#[tokio::test]
async fn a_pooler_where_the_configuration_denies_one_is_a_problem() {
    let database = TestDatabase::empty().await.unwrap();
    let bouncer = bouncer(&database, PoolMode::Transaction, old()).await;
    let url = database.pooled_url(&bouncer);

    let denied = doctor(&url, &database.url()).with("APP_DB__PROFILE__POOLER", "none");
    let report = json(&denied.run("doctor --json").await.ended_with(1));
    assert_eq!(report["endpoints"][0]["pooler"], "shared");
    assert_eq!(
        advice(&report, "pooler = \"none\"")[0].0,
        "problem",
        "{report:#}"
    );

    // A direct URL that leads to the pooler, and a missing one, which then is the same.
    for dbctl in [doctor(&url, &url), Dbctl::new().with("DATABASE_URL", &url)] {
        let report = json(&dbctl.run("doctor --json").await.ended_with(1));
        let found = advice(&report, "set DATABASE_URL_DIRECT");
        assert_eq!((found.len(), &*found[0].0), (1, "problem"), "{report:#}");
    }
}

/// req 0.26: functions that connect to the server itself exhaust it.
#[tokio::test]
async fn functions_without_a_pooler_are_advised_to_have_one() {
    let database = TestDatabase::empty().await.unwrap();
    let bouncer = bouncer(&database, PoolMode::Transaction, old()).await;
    let through = database.pooled_url(&bouncer);
    for (url, environment, advised) in [
        (database.url(), "lambda", 1),
        (database.url(), "test", 0),
        (through, "lambda", 0),
    ] {
        let dbctl = doctor(&url, &database.url()).with("APP_ENV", environment);
        let report = json(&dbctl.run("doctor --json").await.ended_with(0));
        let found = advice(&report, "connect through a pooler");
        assert_eq!(found.len(), advised, "{environment}: {report:#}");
    }
}

/// req 0.05, req 4.03, req 4.10: each server's limit against the pools of one instance.
#[tokio::test]
async fn pools_beyond_the_servers_connections_are_a_problem() {
    let cluster = Cluster::start(ClusterOptions::default().max_connections(20))
        .await
        .unwrap();
    let database = TestDatabase::empty_on(&cluster).await.unwrap();
    let sized = |max: &str| {
        doctor(&database.url(), &database.url())
            .with("APP_DB__POOLS__BATCH__MAX", "5")
            .with("APP_DB__POOLS__BATCH__VIA", "direct")
            .with("APP_DB__POOLS__WRITE__MAX", max)
    };
    let report = json(&sized("13").run("doctor --json").await.ended_with(1));
    let endpoints = &report["endpoints"];
    assert_eq!(endpoints[0]["max_connections"], 20);
    assert_eq!(endpoints[0]["reserved_connections"], 3);
    assert_eq!(endpoints[0]["configured_max"], 13);
    assert_eq!(endpoints[1]["configured_max"], 5);
    let found = advice(&report, "18 connections, but the server has 17");
    assert_eq!((found.len(), &*found[0].0), (1, "problem"), "{report:#}");

    // To use all of them except the reserve is no error, but causes advice.
    let report = json(&sized("12").run("doctor --json").await.ended_with(0));
    assert_eq!(advice(&report, "10 to 20 %")[0].0, "note", "{report:#}");
    let outcome = sized("11").run("doctor").await.ended_with(0);
    assert!(outcome.stdout.contains("all is well"), "{outcome:?}");
}

#[tokio::test]
async fn nobody_at_the_address_and_a_wrong_password_end_with_code_8() {
    let database = TestDatabase::empty().await.unwrap();
    let nobody = "postgres://app:canary@127.0.0.1:1/app";
    let outcome = doctor(nobody, &database.url()).run("doctor --json").await;
    let report = json(&outcome.ended_with(8).keeps("canary"));
    let endpoint = &report["endpoints"][0];
    assert_eq!(endpoint["reachable"], false);
    assert!(
        endpoint["error"]
            .as_str()
            .unwrap()
            .contains("not reachable")
    );
    assert_eq!(endpoint["pooler"], Value::Null);
    assert_eq!(
        report["endpoints"][1]["reachable"], true,
        "the others are looked at"
    );

    let wrong = database.url().replace(&database.password(), "canary");
    let outcome = doctor(&wrong, &wrong).run("doctor --json").await;
    let report = json(&outcome.ended_with(8).keeps("canary"));
    let endpoint = &report["endpoints"][0];
    assert_eq!(endpoint["reachable"], true);
    assert!(endpoint["error"].as_str().unwrap().contains("28P01"));
    assert!(!advice(&report, "are user and password right?").is_empty());
    let outcome = doctor(&wrong, &wrong).run("doctor").await.ended_with(8);
    assert!(
        outcome
            .keeps("canary")
            .stdout
            .contains("refuses these credentials")
    );
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_ends_with_code_2() {
    let outcome = Dbctl::new().run("doctor").await;
    let outcome = outcome.ended_with(2).says("DATABASE_URL: not set");
    assert_eq!(outcome.stdout, "");
    let broken = doctor("postgres://app:canary@localhost:port/app", "postgres://x/y");
    broken
        .run("doctor --json")
        .await
        .ended_with(2)
        .keeps("canary");
}

/// Scripts rely on these fields. Fields may be added; `schema` changes if a field changes.
#[tokio::test]
async fn the_json_has_the_fields_of_its_schema() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl =
        doctor(&database.url(), &database.url()).with("DATABASE_URL_REPLICA", database.url());
    let report = json(&dbctl.run("doctor --json").await.ended_with(0));
    assert_eq!(report["schema"], 1);
    assert!(report["healthy"].is_boolean());
    let names: Vec<_> = report["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["name"])
        .collect();
    assert_eq!(names, ["pooled", "direct", "replica"]);
    assert_eq!(advice(&report, "is a primary, and no replica")[0].0, "note");

    let endpoint = report["endpoints"][0].as_object().unwrap();
    let fields: Vec<_> = endpoint.keys().map(String::as_str).collect();
    let mut expected = vec![
        "name",
        "origin",
        "address",
        "reachable",
        "error",
        "connect_ms",
        "tls",
        "server_version",
        "in_recovery",
        "pooler",
        "statements",
        "pools",
        "alter_role",
        "max_connections",
        "reserved_connections",
        "free_connections",
        "idle_session_timeout_ms",
        "statement_timeout_ms",
        "idle_in_transaction_session_timeout_ms",
        "transaction_timeout_ms",
        "pooler_figures",
        "pooler_error",
        "configured_max",
        "url_hint",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!(endpoint["origin"], "DATABASE_URL");
    assert_eq!(endpoint["tls"], false);
    assert_eq!(endpoint["in_recovery"], false);
    assert!(endpoint["connect_ms"].as_f64().unwrap() > 0.0);
    assert!(endpoint["free_connections"].as_i64().unwrap() > 0);
    let pool = &endpoint["pools"][0];
    assert_eq!(
        (&pool["name"], &pool["max"], &pool["statements"]),
        (&"write".into(), &20.into(), &"named".into()),
        "{pool}"
    );
}
