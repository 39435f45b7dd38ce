//! A source of the service's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use app_db::{
    CredentialSource, Credentials, CredentialsError, CredentialsProblem, Database, Error, Fetched,
    Refresh,
};
use harness::{TestDatabase, wait_until};
use tokio::sync::Notify;

use super::{log_in, user};
use crate::SOON;
use crate::alone::has_its_own_process;
use crate::at_rest::watched;
use crate::captured::Captured;
use crate::transaction::config;

const FAILED: &str = "the credentials cannot be fetched; those in place stay";

/// Delivers once, and does something else from then on.
struct Unreliable {
    credentials: Credentials,
    calls: Arc<AtomicU32>,
    at_once: Arc<AtomicU32>,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    Panics,
    Hangs,
    TakesTime,
}

impl CredentialSource for Unreliable {
    async fn fetch(&self) -> Result<Fetched, CredentialsError> {
        let running = self.at_once.fetch_add(1, Ordering::SeqCst);
        let _gone = Gone(&self.at_once);
        assert_eq!(running, 0, "two at a time");
        let first = self.calls.fetch_add(1, Ordering::SeqCst) == 0;
        match self.then {
            _ if first => {}
            Then::Panics => panic!("the provider panics"),
            Then::Hangs => Notify::new().notified().await,
            Then::TakesTime => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        Ok(Fetched::new(self.credentials.clone()))
    }
}

struct Gone<'a>(&'a AtomicU32);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn opened(db: &TestDatabase, then: Then) -> (Database, Arc<AtomicU32>) {
    let calls = Arc::<AtomicU32>::default();
    let source = Unreliable {
        credentials: Credentials::new(db.role().name(), db.password()),
        calls: Arc::clone(&calls),
        at_once: Arc::default(),
        then,
    };
    let vars = [
        ("APP_DB__CREDENTIALS__TIMEOUT", "1s"),
        ("APP_DB__PROFILE__MAX", "4"),
    ];
    let config = config(&db.url(), &vars);
    let database = Database::connect_with_credentials(&config, source).await;
    (database.unwrap(), calls)
}

/// A provider that panics a thousand times costs the pool nothing, and is told of once.
#[tokio::test]
async fn a_provider_that_panics_a_thousand_times_costs_nothing() {
    if !has_its_own_process() {
        return;
    }
    let db = TestDatabase::empty().await.unwrap();
    let (database, calls) = opened(&db, Then::Panics).await;
    let database = watched(&db, database).with_sessions(5);
    let (captured, guard) = Captured::begin();
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for n in 0..1_000 {
        let error = database.refresh().await.unwrap_err();
        let Error::Credentials(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.problem(), CredentialsProblem::Panicked);
        if n % 100 == 0 {
            assert_eq!(log_in(&database).await.unwrap(), db.role().name());
        }
    }
    std::panic::set_hook(quiet);
    assert!(calls.load(Ordering::SeqCst) > 1_000);
    let told = captured.events("app_db::credentials");
    let told = told
        .iter()
        .filter(|event| event.get("message") == Some(FAILED));
    assert_eq!(told.count(), 1);
    drop(guard);
    assert!(database.credentials().failed_fetches >= 1_000);
    database.rests().await;
}

/// case R42: one that hangs is given up, and those in place serve meanwhile.
#[tokio::test]
async fn a_provider_that_hangs_is_given_up() {
    let db = TestDatabase::empty().await.unwrap();
    let (database, calls) = opened(&db, Then::Hangs).await;
    let database = watched(&db, database).with_sessions(5);
    let refreshing = {
        let database: Database = (*database).clone();
        tokio::spawn(async move { database.refresh().await.map(drop) })
    };
    wait_until("it is asked", SOON, async || {
        calls.load(Ordering::SeqCst) == 2
    })
    .await;
    assert_eq!(database.read(user).await.unwrap(), db.role().name());
    let error = refreshing.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("took too long"), "{error}");
    database.rests().await;
}

/// case R42: however many ask, one fetch runs at a time; the provider itself looks at that.
#[tokio::test]
async fn one_fetch_runs_at_a_time() {
    let db = TestDatabase::empty().await.unwrap();
    let (database, calls) = opened(&db, Then::TakesTime).await;
    let refreshes = (0..4).map(|_| database.refresh());
    for outcome in futures_util::future::join_all(refreshes).await {
        assert!(matches!(outcome, Ok(Refresh::Unchanged)), "{outcome:?}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}

/// A source that code has to bring is asked for by name where it does not.
#[tokio::test]
async fn a_provider_that_nobody_brings_is_asked_for() {
    let db = TestDatabase::empty().await.unwrap();
    let config = config(&db.url(), &[("APP_DB__CREDENTIALS__SOURCE", "provider")]);
    let error = Database::connect(&config).await.unwrap_err();
    assert!(
        error.to_string().contains("connect_with_credentials"),
        "{error}"
    );
    assert_eq!(error.kind(), app_db::Kind::Configuration);
}
