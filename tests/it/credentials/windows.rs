//! The server and the secret change at different times, and no work fails in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use app_db::{CredentialState, Database, Kind};
use harness::{Cluster, TestDatabase, wait_until};
use tokio_util::sync::CancellationToken;

use super::{Secrets, generation, log_in, logging, open, refusals, sourced, user};
use crate::SOON;
use crate::at_rest::{Watched, watched};
use crate::captured::Captured;

/// For how long server and secret differ; the file of recipes has the whole minute.
fn apart() -> Duration {
    let seconds = std::env::var("DB_TESTS_WINDOW_SECONDS");
    Duration::from_secs(seconds.map_or(5, |seconds| seconds.parse().unwrap()))
}

/// Work that goes on until it is stopped, and may not fail.
pub(super) struct Work {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    stop: CancellationToken,
    done: Arc<AtomicU64>,
}

impl Work {
    pub(super) fn begin(database: &Database) -> Self {
        let (stop, done) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let tasks = (0..8).map(|_| {
            let (database, stop, done) = (database.clone(), stop.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    database.write(user).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        });
        Self {
            tasks: tasks.collect(),
            stop,
            done,
        }
    }

    /// How much is done so far.
    pub(super) fn done(&self) -> u64 {
        AtomicU64::load(&self.done, Ordering::Relaxed)
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Connections of these live for less than two seconds, and are made anew all the time.
pub(super) const SHORT_LIVED: [(&str, &str); 3] = [
    ("APP_DB__PROFILE__MAX_LIFETIME", "2s"),
    ("APP_DB__PROFILE__IDLE_TIMEOUT", "1s"),
    ("APP_DB__PROFILE__MAX", "6"),
];

/// A server whose log is the test's alone, a file with the secret, and pools with such connections.
async fn short_lived() -> (Cluster, TestDatabase, Secrets, Watched<Database>) {
    let (cluster, db) = logging().await;
    let secrets = Secrets::new();
    let path = secrets.put("password", &db.password());
    let database = watched(&db, open(&sourced(&db, "file", &path, &SHORT_LIVED)).await);
    (cluster, db, secrets, database.with_sessions(7))
}

/// case R40; req 4.45, req 4.46: the server changes first. No work fails, connections outlive their lifetime, the
/// server refuses three logins at most, and afterwards lifetimes count again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_work_fails_while_the_server_is_ahead_of_the_file() {
    let (cluster, db, secrets, database) = short_lived().await;
    let work = Work::begin(&database);
    wait_until("connections have been replaced", SOON, async || {
        database.status()[0].closed.by_age > 3
    })
    .await;

    db.set_password("second1").await.unwrap();
    let began = Instant::now();
    wait_until("no login works", SOON, async || {
        database.credentials().state == CredentialState::Refused
    })
    .await;
    let aged = database.status()[0].closed.by_age;
    let done = work.done();
    tokio::time::sleep(apart().saturating_sub(began.elapsed())).await;
    // However slow the machine is, connections have outlived their two seconds.
    wait_until("work goes on", SOON, async || work.done() > done + 100).await;
    let status = &database.status()[0];
    assert_eq!(status.closed.by_age, aged, "{status:?}");
    assert!(status.open > 0 && generation(&database) == 1, "{status:?}");

    secrets.put("password", "second1");
    wait_until("lifetimes count again", SOON, async || {
        generation(&database) == 2 && database.status()[0].closed.by_age > aged
    })
    .await;
    work.end().await;
    let refused = refusals(&cluster, db.role());
    assert!((1..=3).contains(&refused), "{refused} refusals");
    let status = &database.status()[0];
    assert_eq!(status.checkouts.timed_out, 0, "{status:?}");
    database.rests().await;
}

/// case R40: the file changes first, and its secret is tried three times at most before the server knows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_work_fails_while_the_file_is_ahead_of_the_server() {
    let (cluster, db, secrets, database) = short_lived().await;
    let work = Work::begin(&database);
    secrets.put("password", "second1");
    wait_until("it is refused", SOON, async || {
        refusals(&cluster, db.role()) > 0
    })
    .await;
    tokio::time::sleep(apart()).await;
    assert_eq!(generation(&database), 1);
    let refused = refusals(&cluster, db.role());
    assert!(
        refused <= 3,
        "{refused} refusals of what the server does not know yet"
    );

    // Now the one in place is refused, and the other one is tried at once.
    db.set_password("second1").await.unwrap();
    wait_until("it is in use", SOON, async || generation(&database) == 2).await;
    work.end().await;
    let refused = refusals(&cluster, db.role()) - refused;
    assert!(
        (1..=3).contains(&refused),
        "{refused} refusals of the former one"
    );
    assert_eq!(database.status()[0].checkouts.timed_out, 0);
    database.rests().await;
}

/// case R40: with no connection left and no secret that works a caller is told so, and the next one has a connection
/// as soon as there is one that does.
#[tokio::test]
async fn a_caller_is_told_when_nothing_works_and_served_when_it_does() {
    let (cluster, db) = logging().await;
    let secrets = Secrets::new();
    let path = secrets.put("password", &db.password());
    let database = watched(&db, open(&sourced(&db, "file", &path, &[])).await).with_sessions(21);
    database.get().await.unwrap().discard();
    db.set_password("second1").await.unwrap();
    for _ in 0..5 {
        let error = database.get().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration, "{error}");
        assert_eq!(error.sqlstate().unwrap().code(), "28P01");
    }
    let refused = refusals(&cluster, db.role());
    assert!(refused <= 3, "{refused} refusals");
    secrets.put("password", "second1");
    wait_until("it is in use", SOON, async || generation(&database) == 2).await;
    assert_eq!(log_in(&database).await.unwrap(), db.role().name());
    database.rests().await;
}

/// What the server takes back is found out by the renewal itself, within the delays between its attempts.
#[tokio::test]
async fn a_secret_that_works_again_is_used_again() {
    let (_cluster, db) = logging().await;
    let password = db.password();
    let secrets = Secrets::new();
    let path = secrets.put("password", &password);
    let more = [("APP_DB__CREDENTIALS__ATTEMPTS", "10")];
    let database = watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(21);
    database.get().await.unwrap().discard();
    db.set_password("second1").await.unwrap();
    log_in(&database).await.unwrap_err();
    db.set_password(&password).await.unwrap();
    wait_until("logins work", SOON, async || {
        database.credentials().state == CredentialState::Fresh
    })
    .await;
    assert_eq!(log_in(&database).await.unwrap(), db.role().name());
    assert_eq!(generation(&database), 1);
    database.rests().await;
}

/// A rule of pg_hba.conf is no matter of the secret: it is named as what it is, and the source is not asked.
#[tokio::test]
async fn a_rule_of_the_server_is_named_and_nothing_is_fetched() {
    let (cluster, db) = logging().await;
    let secrets = Secrets::new();
    let path = secrets.put("password", &db.password());
    // Nothing looks at the file by itself.
    let more = [("APP_DB__CREDENTIALS__POLL", "1h")];
    let database = watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(21);
    let (captured, guard) = Captured::begin();
    let rule = format!("host all {} 127.0.0.1/32 reject", db.role().name());
    cluster.add_hba(&rule).await.unwrap();
    let error = async {
        loop {
            if let Err(error) = log_in(&database).await {
                return error;
            }
        }
    }
    .await;
    let cause = error_of(&error);
    assert!(cause.contains("pg_hba.conf"), "{cause}");
    assert_eq!(error.sqlstate().unwrap().code(), "28000");
    // Each refusal would ask the source, if it were one of the secret.
    let before = database.credentials().fetches;
    for _ in 0..20 {
        log_in(&database).await.unwrap_err();
    }
    let status = database.credentials();
    assert_eq!(
        (status.fetches, status.failed_fetches, status.refusals),
        (before, 0, 0)
    );
    assert_eq!(captured.events("app_db::credentials").len(), 0);
    drop(guard);
    cluster.remove_hba(&rule).await.unwrap();
    wait_until("it lets in again", SOON, async || {
        log_in(&database).await.is_ok()
    })
    .await;
    database.rests().await;
}

fn error_of(error: &app_db::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map(ToString::to_string).unwrap_or_default()
}
