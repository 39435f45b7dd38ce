//! What callers see when a server refuses, restarts, freezes or hangs up, and when they recover.

mod breaker;
mod descriptors;
mod health;
mod panicking;
mod refusals;
mod restarts;
mod socket;
mod stale;

use std::time::{Duration, Instant};

use app_db::{Config, Database, Environment, Kind, Pool, PoolError, PoolProfile};
use db_pool::ConnectFailure;
use harness::{Cluster, ClusterOptions, Stop, TestDatabase, through_port, wait_until};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::{NoPool, open, open_at, unserved, watched};
use crate::pool::{sized, url};

/// case R02, case F6: with every profile, a wrong password is reported at once.
#[tokio::test]
async fn a_wrong_password_fails_fast_in_every_environment() {
    let db = TestDatabase::empty().await.unwrap();
    let wrong = harness::url(db.server().port(), db.name(), db.role().name(), "wrong");
    let watch = watched(&db, NoPool);
    for environment in [Environment::Dev, Environment::Test, Environment::Prod] {
        let mut profile = PoolProfile::of(&environment);
        profile.checkout_timeout = 10 * SOON;
        let connecting = Pool::connect(url(&wrong), profile);
        let error = timeout(SOON, connecting)
            .await
            .expect("it does not wait for the deadline")
            .unwrap_err();
        assert!(matches!(error, PoolError::Connect { .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Configuration, "{environment}");
    }
    watch.rests().await;
}

/// case R02, case F6: callers that come together all get the error, and none of them waits for a timeout.
#[tokio::test]
async fn a_wrong_password_is_said_to_every_caller() {
    let db = TestDatabase::empty().await.unwrap();
    let wrong = harness::url(db.server().port(), db.name(), db.role().name(), "wrong");
    let pool = watched(&db, Pool::connect_lazy(url(&wrong), sized(5)));
    let callers = (0..20).map(|_| pool.get());
    for refused in futures_util::future::join_all(callers).await {
        let error = refused.unwrap_err();
        assert!(matches!(error, PoolError::Connect { .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Configuration);
    }
    assert_eq!(pool.status().checkouts.timed_out, 0);
    let logins = pool.status().connects.failed;
    assert!(logins <= 5, "{logins} logins could lock the account");
    pool.rests_unserved().await;
}

/// case R05: waiting callers are served soon after the outage, however many failures there were.
#[tokio::test]
async fn many_waiters_are_served_soon_after_a_restart() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let mut profile = sized(20);
    profile.checkout_timeout = Duration::from_secs(20);
    let pool = open(&db, profile).await;
    cluster.stop(Stop::Immediate).await.unwrap();
    let waiting: Vec<_> = (0..15)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.get().await.map(drop) })
        })
        .collect();
    wait_until("connecting has failed often", SOON, async || {
        pool.status().connects.failed >= 4
    })
    .await;
    cluster.start_again().await.unwrap();
    let back = Instant::now();
    for caller in waiting {
        caller.await.unwrap().unwrap();
    }
    // Three failures in a row would make the keeper wait for two to four seconds.
    let took = back.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    pool.rests().await;
}

/// case F8: a host that accepts and stays silent is down, also before the first attempt has ended.
#[tokio::test]
async fn a_silent_host_is_down_and_not_busy() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut profile = PoolProfile::of(&Environment::Prod);
    profile.checkout_timeout = Duration::from_millis(300);
    assert!(profile.connect_timeout > profile.checkout_timeout);
    let address = format!("postgres://u:p@127.0.0.1:{port}/d");
    let pool = unserved(Pool::connect_lazy(url(&address), profile));
    let error = pool.get().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Down, "{error:?}");
    let cause = error.connect_error().unwrap();
    assert_eq!(cause.failure(), ConnectFailure::TimedOut);
    assert!(cause.to_string().contains(&port.to_string()), "{cause}");
    pool.rests_unserved().await;
}

/// case F9: the only connection of a pool is silent; a caller gets another one in the same checkout.
#[tokio::test]
async fn a_pool_of_one_survives_a_half_open_connection() {
    let db = TestDatabase::empty().await.unwrap();
    let vars = [
        ("APP_ENV", "lambda"),
        ("DATABASE_URL", &db.url()),
        ("APP_DB__PROFILE__VALIDATE_AFTER", "0s"),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::load_from(std::path::Path::new("/var/empty/none"), vars).unwrap();
    let database = watched(&db, Database::connect(&config).await.unwrap());
    // The server keeps the frozen one for longer than the pool waits for its goodbye.
    let database = database.with_sessions(2);
    let pool = database.pool("write").unwrap();
    assert_eq!(pool.profile().max, 1);
    let pid = pool.get().await.unwrap().backend_pid();
    let frozen = Cluster::shared().await.unwrap().freeze_backend(pid);
    let began = Instant::now();
    let fresh = database.get().await.unwrap();
    let took = began.elapsed();
    assert_ne!(fresh.backend_pid(), pid);
    // The ping's second, and the half that a silent server is given to say goodbye: another one has five.
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop((fresh, frozen));
    database.rests().await;
}

/// case F11: the place that a closed connection frees wakes a caller that can use it.
#[tokio::test]
async fn a_freed_place_reaches_the_caller_that_needs_it() {
    let db = TestDatabase::empty().await.unwrap();
    let (port, accepted) = second_connection_silent(db.server().port()).await;
    let mut profile = sized(2);
    profile.checkout_timeout = Duration::from_secs(4);
    let pool = open_at(&db, &through_port(&db.url(), port), profile).await;
    let held = pool.get().await.unwrap();
    let dialling = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.get().await.map(drop) })
    };
    let dials = |count| accepted.clone().wait_for_count(count);
    dials(2).await;
    // One caller has a place and cannot connect; the other one needs the place that is freed.
    let needing = pool.get();
    let mut needing = std::pin::pin!(needing);
    assert!(futures_util::poll!(&mut needing).is_pending());
    held.discard();
    let served = timeout(Duration::from_secs(2), &mut needing)
        .await
        .expect("the caller that needs a place is woken");
    drop(served.unwrap());
    // The one that dialled takes what the other gave back.
    timeout(Duration::from_secs(2), dialling)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    dials(3).await;
    pool.rests().await;
}

/// How many connections a listener has accepted.
#[derive(Clone)]
struct Accepted(tokio::sync::watch::Receiver<u32>);

impl Accepted {
    async fn wait_for_count(mut self, count: u32) {
        timeout(SOON, self.0.wait_for(|accepted| *accepted >= count))
            .await
            .unwrap()
            .unwrap();
    }
}

/// A port that forwards to another one. It leaves only the second connection without an answer.
async fn second_connection_silent(target: u16) -> (u16, Accepted) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (count, accepted) = tokio::sync::watch::channel(0);
    harness::beside(async move {
        let mut unanswered = Vec::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            count.send_modify(|accepted| *accepted += 1);
            if *count.borrow() == 2 {
                unanswered.push(client);
                continue;
            }
            harness::beside(async move {
                let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (port, Accepted(accepted))
}
