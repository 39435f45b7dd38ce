//! `dbctl connections` and `dbctl advise` beside a real server.

use diesel_async::SimpleAsyncConnection;
use harness::{TestDatabase, wait_until};
use serde_json::Value;

use crate::SOON;
use crate::dbctl::Dbctl;
use crate::transaction::{bump, prepared};

async fn listed(dbctl: &Dbctl) -> Value {
    let outcome = dbctl.run("connections --json").await.ended_with(0);
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// req 0.27, req 1.14, req 1.15: sessions by state, who waits for whom, and which are ours; values of statements
/// are not
/// shown.
#[tokio::test]
async fn sessions_are_listed_with_their_blockers() {
    let (db, database) = prepared().await;
    let dbctl = Dbctl::new().with("DATABASE_URL", db.url());
    let mut first = database.get().await.unwrap();
    first
        .batch_execute("begin; update t set n = 4711 where id = 1")
        .await
        .unwrap();
    let blocker = first.backend_pid();
    let second = database.clone();
    let blocked = tokio::spawn(async move {
        let done: diesel::QueryResult<usize> = second.write(async |conn| bump(conn, 1).await).await;
        done.unwrap();
    });
    let other = db.connect().await.unwrap();
    let mut json = Value::Null;
    wait_until("somebody is blocked", SOON, async || {
        json = listed(&dbctl).await;
        json["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["blocked_by"][0] == blocker)
    })
    .await;
    assert_eq!(json["ours"], 2, "{json}");
    assert_eq!(json["states"]["idle in transaction"], 1, "{json}");
    assert_eq!(json["hidden"], 0);
    let sessions = json["sessions"].as_array().unwrap();
    let holder = sessions.iter().find(|one| one["pid"] == blocker).unwrap();
    let query = holder["query"].as_str().unwrap();
    assert!(
        query.ends_with("update t set n = ? where id = ?"),
        "{query}"
    );
    assert!(holder["transaction_seconds"].as_f64().unwrap() > 0.0);
    let table = dbctl.run("connections").await.ended_with(0).stdout;
    assert!(
        table.contains("of them ours") && !table.contains("4711"),
        "{table}"
    );
    drop((first, other));
    blocked.await.unwrap();
}

/// req 0.28: sessions that have been idle for long are ended, those at work are not; production asks for the name
/// of the
/// database.
#[tokio::test]
async fn idle_sessions_are_ended_on_demand() {
    let db = TestDatabase::empty().await.unwrap();
    let idle = db.connect().await.unwrap();
    let at_work = db.connect().await.unwrap();
    at_work.batch_execute("begin").await.unwrap();
    let dbctl = Dbctl::new().with("DATABASE_URL", db.url());
    let outcome = dbctl
        .run("connections --terminate-idle 10min --json")
        .await
        .ended_with(0);
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(json["ended"], 0, "{json}");
    let outcome = dbctl
        .run("connections --terminate-idle 1ms --json")
        .await
        .ended_with(0);
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(json["ended"], 1, "{json}");
    wait_until("the idle one is gone", SOON, async || idle.is_closed()).await;
    at_work.batch_execute("select 1").await.unwrap();

    let production = Dbctl::new()
        .with("APP_ENV", "prod")
        .with("DATABASE_URL", db.url())
        .with("DATABASE_URL_DIRECT", db.url());
    let terminate = "connections --terminate-idle 10min";
    let needs = format!("needs `--confirm {}`", db.name());
    production.run(terminate).await.ended_with(2).says(&needs);
    let wrong = format!("{terminate} --confirm other");
    production
        .run(&wrong)
        .await
        .ended_with(2)
        .says("the database is");
    let right = format!("{terminate} --confirm {}", db.name());
    production.run(&right).await.ended_with(0);
}

/// req 4.02, req 4.03: advice for given numbers, with its inputs. It reads the server's own limit.
#[tokio::test]
async fn advice_rests_on_numbers() {
    let db = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::new().with("DATABASE_URL", db.url());
    let asked =
        "advise --json --users 150 --operations 0.3 --rate 200 --hold 20ms --cores 4 --instances 3";
    let outcome = dbctl.run(asked).await.ended_with(0);
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let advice = json["advice"].as_array().unwrap();
    let of = |about: &str| advice.iter().find(|one| one["about"] == about).unwrap();
    assert_eq!(of("max by users")["recommended"], 68.0);
    assert_eq!(of("in use on the mean")["recommended"], 4.0);
    assert_eq!(of("active on the server")["recommended"], 8.0);
    let server: i64 = db
        .scalar("select current_setting('max_connections')::bigint")
        .await
        .unwrap();
    let share = &of("share of the server")["inputs"][0];
    assert_eq!(
        (&share["name"], share["value"].as_f64().unwrap()),
        (&"max_connections".into(), server as f64)
    );
    let text = dbctl
        .run("advise --users 150 --operations 0.3")
        .await
        .ended_with(0)
        .stdout;
    assert!(
        text.contains("150 × 0.3 × 1.5 is 68 connections per instance."),
        "{text}"
    );
    dbctl.run("advise --users -1").await.ended_with(2);
}

/// req 3.29, req 4.09: a pool that leaves connections idle for longer than the server does is a problem, with the key
/// to change; one that does not is none.
#[tokio::test]
async fn the_doctor_compares_idle_times_with_the_servers() {
    let db = TestDatabase::empty().await.unwrap();
    let set = format!(
        "alter database {} set idle_session_timeout = '2min'",
        db.name()
    );
    let admin = db.admin().await.unwrap();
    admin.batch_execute(&set).await.unwrap();
    let doctor = || {
        Dbctl::new()
            .with("APP_ENV", "test")
            .with("DATABASE_URL", db.url())
    };
    let long = doctor().run("doctor").await.ended_with(1).stdout;
    assert!(
        long.contains("idle_session_timeout is 120s: set max_lifetime below that"),
        "{long}"
    );
    let short = doctor()
        .with("APP_DB__PROFILE__MAX_LIFETIME", "90s")
        .with("APP_DB__PROFILE__IDLE_TIMEOUT", "30s")
        .run("doctor")
        .await
        .ended_with(0)
        .stdout;
    assert!(!short.contains("idle_session_timeout"), "{short}");
}
