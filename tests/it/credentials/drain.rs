//! How connections leave after a rotation.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use app_db::Credentials;
use diesel_async::RunQueryDsl;
use harness::{Cluster, ClusterOptions, TestDatabase, wait_until};

use super::user;
use crate::SOON;
use crate::at_rest::watched;
use crate::transaction::database;

/// Two hundred idle connections are replaced one after the other over `drain_spread`: at no time are more than eight
/// logins in flight, and in no second are there more than 25 of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_replaced_one_after_the_other() {
    let options = ClusterOptions::default()
        .max_connections(300)
        .setting("log_connections", "on")
        .setting("log_line_prefix", "%n %p ");
    let cluster = Cluster::start(options).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let second = db.add_role().await.unwrap();
    let more = [
        ("APP_DB__PROFILE__MAX", "200"),
        ("APP_DB__PROFILE__CEILING", "200"),
        ("APP_DB__PROFILE__MIN_IDLE", "200"),
        ("APP_DB__CREDENTIALS__DRAIN_SPREAD", "10s"),
    ];
    let database = watched(&db, database(&db.url(), &more).await).with_sessions(201);
    wait_until("all are open", 3 * SOON, async || {
        database.status()[0].idle == 200
    })
    .await;
    let credentials = Credentials::new(second.name(), second.password());
    let began = Instant::now();
    let rotation = database.rotate(credentials).await.unwrap();
    assert_eq!(rotation.retiring(), 200);
    // They serve until their turn comes, and the first one's has come.
    let idle = database.status()[0].idle;
    assert!(idle >= 199, "{idle}");
    tokio::time::timeout(6 * SOON, rotation.drained())
        .await
        .unwrap();
    // Not faster; a slow machine takes as long as its logins do.
    let took = began.elapsed();
    assert!(took > Duration::from_secs(8), "{took:?}");
    wait_until("all are replaced", SOON, async || {
        database.status()[0].idle == 200
    })
    .await;
    assert_eq!(database.read(user).await.unwrap(), second.name());

    let logins = logins(&cluster.log_text(), second.name());
    assert!(logins.len() >= 200, "{}", logins.len());
    let most = |count: &dyn Fn(f64) -> usize| logins.iter().map(|(began, _)| count(*began)).max();
    let in_a_second = most(&|from| {
        let ends = logins.iter().map(|(_, ended)| ended - from);
        ends.filter(|after| (0.0..1.0).contains(after)).count()
    });
    assert!(
        in_a_second <= Some(25),
        "{in_a_second:?} logins in a second"
    );
    let in_flight = most(&|at| {
        let flights = logins
            .iter()
            .filter(|(began, ended)| (*began..*ended).contains(&at));
        flights.count()
    });
    assert!(in_flight <= Some(8), "{in_flight:?} logins in flight");
    database.rests().await;
}

/// In a pool that is full of idle connections each newer one is there before the older one goes: by the server's log there
/// are never fewer sessions than the pool's size, and never more than one more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_full_pool_the_newer_one_comes_first() {
    let options = ClusterOptions::default()
        .setting("log_connections", "on")
        .setting("log_disconnections", "on");
    let cluster = Cluster::start(options).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let second = db.add_role().await.unwrap();
    let more = [
        ("APP_DB__PROFILE__MAX", "4"),
        ("APP_DB__PROFILE__CEILING", "4"),
        ("APP_DB__PROFILE__MIN_IDLE", "4"),
        ("APP_DB__CREDENTIALS__DRAIN_SPREAD", "2s"),
    ];
    let database = watched(&db, database(&db.url(), &more).await).with_sessions(5);
    wait_until("all are open", SOON, async || {
        database.status()[0].idle == 4
    })
    .await;
    let before = cluster.log_text().len();
    let credentials = Credentials::new(second.name(), second.password());
    database.rotate(credentials).await.unwrap().drained().await;
    wait_until("all are replaced", SOON, async || {
        let status = &database.status()[0];
        (status.idle, status.open) == (4, 4)
    })
    .await;
    let log = cluster.log_text();
    let mut sessions = 4;
    let mut seen = Vec::new();
    for line in log[before..].lines() {
        let is_ours = line.contains(&format!("database={} ", db.name()));
        match line {
            line if is_ours && line.contains("connection authorized:") => sessions += 1,
            line if is_ours && line.contains("disconnection:") => sessions -= 1,
            _ => continue,
        }
        seen.push(sessions);
    }
    // The proof and four connections; the server tells of an end a little after it is one.
    assert!(seen.len() >= 10, "{seen:?}");
    let bounds = (*seen.iter().min().unwrap(), *seen.iter().max().unwrap());
    assert_eq!(bounds, (4, 5), "{seen:?}");
    database.rests().await;
}

/// When each login of a user began and ended, in seconds, by the server's log.
fn logins(log: &str, user: &str) -> Vec<(f64, f64)> {
    let received = |line: &str| line.contains("connection received");
    let authorized = format!("connection authorized: user={user} ");
    let at = |line: &str| {
        let mut words = line.split_whitespace();
        let at: f64 = words.next()?.parse().ok()?;
        Some((words.next()?.to_owned(), at))
    };
    let began: BTreeMap<_, _> = log
        .lines()
        .filter(|line| received(line))
        .filter_map(at)
        .collect();
    let ended = log
        .lines()
        .filter(|line| line.contains(&authorized))
        .filter_map(at);
    ended.map(|(process, at)| (began[&process], at)).collect()
}

/// What is held beyond `drain_limit` is cancelled.
#[tokio::test]
async fn what_is_held_beyond_the_limit_is_cancelled() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    let more = [
        ("APP_DB__CREDENTIALS__DRAIN_LIMIT", "500ms"),
        ("APP_DB__CREDENTIALS__DRAIN_SPREAD", "0s"),
    ];
    let database = watched(&db, database(&db.url(), &more).await).with_sessions(21);
    let mut held = database.get().await.unwrap();
    let sleeping = tokio::spawn(async move {
        diesel::sql_query("select pg_sleep(30)")
            .execute(&mut held)
            .await
    });
    wait_until("it sleeps", SOON, async || {
        let sessions = db.backends("app-db").await.unwrap();
        sessions.iter().any(|session| session.state == "active")
    })
    .await;
    let credentials = Credentials::new(second.name(), second.password());
    let began = Instant::now();
    database.rotate(credentials).await.unwrap().drained().await;
    let took = began.elapsed();
    // Not at once, and long before the statement would have ended.
    assert!(
        took > Duration::from_millis(400) && took < Duration::from_secs(20),
        "{took:?}"
    );
    sleeping.await.unwrap().unwrap_err();
    database.rests().await;
}

/// case R40: a connection that is held when the credentials change is closed when it comes back, however long the
/// idle ones are spared.
#[tokio::test]
async fn a_held_connection_is_closed_when_it_comes_back() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    let more = [("APP_DB__CREDENTIALS__DRAIN_SPREAD", "1h")];
    let database = watched(&db, database(&db.url(), &more).await).with_sessions(21);
    let idle = [database.get().await.unwrap(), database.get().await.unwrap()];
    drop(idle);
    let mut held = database.get().await.unwrap();
    let credentials = Credentials::new(second.name(), second.password());
    let rotation = database.rotate(credentials).await.unwrap();
    user(&mut held).await.unwrap();
    let pid = held.backend_pid();
    drop(held);
    wait_until("it is closed", SOON, async || {
        let sessions = db.backends("app-db").await.unwrap();
        sessions.iter().all(|session| session.pid != pid)
    })
    .await;
    drop(rotation);
    database.shutdown(Duration::ZERO).await;
    database.rests().await;
}
