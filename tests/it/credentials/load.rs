//! A thousand requests a second while the credentials change again and again: none of them fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use app_db::Database;
use harness::{Bouncer, BouncerOptions, PoolMode, TestDatabase, TestRole};
use tokio::time::{MissedTickBehavior, interval};

use super::{Secrets, generation, json, open, sourced_at, user};
use crate::at_rest::watched;

/// How long each takes, in seconds, and how many requests a second it has to get done; the recipe `rotation` has the
/// whole minute and the whole rate.
fn length() -> (u64, u64) {
    match std::env::var("DB_TESTS_ROTATION_SECONDS") {
        Ok(seconds) => (seconds.parse().unwrap(), 900),
        // Beside other tests, and on a slow machine, less gets done.
        Err(_) => (20, 40),
    }
}

const MAX: usize = 10;

/// A thousand requests a second, from a hundred callers.
async fn serve(database: Database, until: Instant, served: Arc<AtomicU64>) {
    let callers = (0..100).map(|_| {
        let (database, served) = (database.clone(), Arc::clone(&served));
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(100));
            // What a caller is late with it makes up for.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while Instant::now() < until {
                ticks.tick().await;
                database.read(user).await.unwrap();
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

#[expect(clippy::print_stdout, reason = "`just rotation` shows it")]
fn tell(served: u64, seconds: u64, rotations: u64) {
    let per_second = served / seconds;
    println!(
        "{served} requests in {seconds} s ({per_second}/s), {rotations} rotations, none failed"
    );
}

async fn rotate_under_load(db: &TestDatabase, port: u16, second: Option<&TestRole>) {
    let secrets = Secrets::new();
    let path = secrets.put("secret", &json(db.role().name(), &db.password()));
    let url = harness::url(port, db.name(), db.role().name(), "nobody");
    let max = MAX.to_string();
    let more = [
        ("APP_DB__PROFILE__MAX", &*max),
        ("APP_DB__CREDENTIALS__DRAIN_SPREAD", "1s"),
    ];
    let config = sourced_at(&url, "file", &path, &more);
    let database = watched(db, open(&config).await).with_sessions(MAX + 1);
    let (seconds, rate) = length();
    let length = Duration::from_secs(seconds);
    let (end, served) = (Instant::now() + length, Arc::<AtomicU64>::default());
    let serving = tokio::spawn(serve((*database).clone(), end, Arc::clone(&served)));
    let pause = Duration::from_secs(5);
    let mut rotations = 0;
    while Instant::now() + pause < end {
        tokio::time::sleep(pause).await;
        rotations += 1;
        let role = match second {
            Some(second) if rotations % 2 == 1 => second,
            _ => db.role(),
        };
        let password = format!("password{rotations}");
        role.set_password(db.server(), &password).await.unwrap();
        secrets.put("secret", &json(role.name(), &password));
        super::reaches_generation(&database, rotations + 1).await;
    }
    serving.await.unwrap();
    let served = AtomicU64::load(&served, Ordering::Relaxed);
    let status = &database.status()[0];
    let in_order = (
        status.checkouts.timed_out,
        status.checkouts.refused,
        status.closed.discarded,
    );
    assert_eq!(in_order, (0, 0, 0), "{status:?}");
    assert_eq!(generation(&database), rotations + 1);
    assert!(
        rotations >= 2 && status.closed.by_rotation > 0,
        "{status:?}"
    );
    assert!(served > rate * seconds, "{served} in {length:?}");
    tell(served, seconds, rotations);
    database.rests().await;
}

async fn bouncer(db: &TestDatabase) -> Bouncer {
    let options = BouncerOptions::mode(PoolMode::Transaction);
    Bouncer::start(db.server(), options).await.unwrap()
}

/// case R40; req 4.45, req 4.46: one user, whose password changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_one_user_gets_new_passwords() {
    let db = TestDatabase::empty().await.unwrap();
    rotate_under_load(&db, db.server().port(), None).await;
}

/// case R41; req 4.44: two users take turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_two_users_take_turns() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    rotate_under_load(&db, db.server().port(), Some(&second)).await;
}

/// case R40: the same through PgBouncer, which asks the server for passwords.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_behind_a_pooler_while_one_user_gets_new_passwords() {
    let db = TestDatabase::empty().await.unwrap();
    let bouncer = bouncer(&db).await;
    rotate_under_load(&db, bouncer.port(), None).await;
}

/// case R41: and two users behind PgBouncer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_behind_a_pooler_while_two_users_take_turns() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    let bouncer = bouncer(&db).await;
    rotate_under_load(&db, bouncer.port(), Some(&second)).await;
}
