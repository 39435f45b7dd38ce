//! Secrets that expire: each login has one that is valid, and nothing is fetched before it is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use app_db::{CredentialSource, Credentials, CredentialsError, Database, Fetched};
use harness::{HarnessError, TestDatabase, TestRole, wait_until};

use super::{generation, log_in};
use crate::SOON;
use crate::at_rest::watched;
use crate::transaction::config;

/// Makes passwords that the server accepts for so long, as tokens are accepted. Two roles take turns, so that a token
/// does not end the one before.
#[derive(Clone)]
struct Tokens {
    db: Arc<TestDatabase>,
    second: Arc<TestRole>,
    made: Arc<AtomicU32>,
    life: Duration,
}

impl Tokens {
    async fn make(&self) -> Result<Credentials, HarnessError> {
        let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
        let role = match number % 2 {
            1 => self.db.role(),
            _ => &*self.second,
        };
        let password = format!("token{number}");
        let server = self.db.server();
        role.set_password(server, &password).await?;
        let until = format!(
            "DO $$ BEGIN EXECUTE format('ALTER ROLE {} VALID UNTIL %L', \
             clock_timestamp() + interval '{} ms'); END $$",
            role.name(),
            self.life.as_millis()
        );
        server.sql(&until).await?;
        Ok(Credentials::new(role.name(), password))
    }
}

impl CredentialSource for Tokens {
    async fn fetch(&self) -> Result<Fetched, CredentialsError> {
        let began = SystemTime::now();
        let made = self.make().await.map_err(CredentialsError::new)?;
        Ok(Fetched::new(made).expires_at(began + self.life))
    }
}

async fn with_tokens(life: Duration, more: &[(&str, &str)]) -> (Tokens, Database) {
    let db = Arc::new(TestDatabase::empty().await.unwrap());
    let tokens = Tokens {
        second: Arc::new(db.add_role().await.unwrap()),
        made: Arc::default(),
        life,
        db,
    };
    let config = config(&tokens.db.url(), more);
    let database = Database::connect_with_credentials(&config, tokens.clone());
    let database = database.await.unwrap();
    (tokens, database)
}

/// A token that lives for three seconds is fetched once in its life, and every login has a valid one.
#[tokio::test]
async fn every_login_has_a_token_that_is_valid() {
    let (tokens, database) = with_tokens(Duration::from_secs(3), &[]).await;
    let database = watched(&tokens.db, database).with_sessions(21);
    let began = Instant::now();
    let made = || tokens.made.load(Ordering::SeqCst);
    while made() < 5 {
        log_in(&database).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Four more than at the start, none of them before half of the life of the one before.
    let earliest = tokens.life.mul_f64(0.95 / 2.0) * 4;
    assert!(began.elapsed() > earliest, "{:?}", began.elapsed());
    assert_eq!(database.status()[0].connects.failed, 0);
    assert_eq!(database.credentials().source, "provider");
    wait_until("the last one is in use", SOON, async || {
        u64::from(made()) == generation(&database)
    })
    .await;
    database.rests().await;
}

/// `lazy` fetches nothing while nobody logs in, and a login after that waits for its token.
#[tokio::test]
async fn a_lazy_renewal_runs_no_timer() {
    let lazy = [("APP_DB__CREDENTIALS__REFRESH", "lazy")];
    let (tokens, database) = with_tokens(Duration::from_secs(4), &lazy).await;
    let database = watched(&tokens.db, database).with_sessions(21);
    // Its life, which nobody notices; the two logins below fit into half of the next one's.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(tokens.made.load(Ordering::SeqCst), 1);
    // What is open is used without asking anybody.
    drop(database.get().await.unwrap());
    assert_eq!(tokens.made.load(Ordering::SeqCst), 1);
    log_in(&database).await.unwrap();
    log_in(&database).await.unwrap();
    assert_eq!(tokens.made.load(Ordering::SeqCst), 2);
    assert_eq!(database.status()[0].connects.failed, 0);
    database.rests().await;
}

/// Nothing is fetched while nothing is due.
#[tokio::test]
async fn nothing_is_fetched_while_nothing_is_due() {
    let (tokens, database) = with_tokens(Duration::from_secs(900), &[]).await;
    let database = watched(&tokens.db, database).with_sessions(21);
    for _ in 0..20 {
        log_in(&database).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(tokens.made.load(Ordering::SeqCst), 1);
    let left = database.credentials().expires_in.unwrap();
    assert!(left > Duration::from_secs(890) && left < Duration::from_secs(900));
    wait_until("it is at rest", SOON, async || {
        database.status()[0].in_use == 0
    })
    .await;
    database.rests().await;
}
