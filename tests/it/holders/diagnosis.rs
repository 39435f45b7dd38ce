//! The cause that a timeout names.

use std::time::Duration;

use app_db::{Diagnosis, Error, Kind, Pool, PoolError};
use db_pool::ConnectFailure;
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use harness::{Cluster, ClusterOptions, Fault, Proxy, TestDatabase, wait_until};
use tokio::time::timeout;

use super::{has, impatient, with_canary};
use crate::SOON;
use crate::at_rest::open;
use crate::database::Log;
use crate::pool::url;
use crate::transaction::database;

const NEVER: Duration = Duration::from_secs(3_600);

/// The error of a checkout that times out, with its diagnosis.
async fn diagnosed(pool: &Pool) -> (PoolError, Diagnosis) {
    let error = pool.get().await.unwrap_err();
    let PoolError::Timeout { diagnosis, .. } = &error else {
        panic!("{error:?}");
    };
    let diagnosis = (**diagnosis).clone();
    (error, diagnosis)
}

/// req 0.29: the pool is too small if connections come and go and a caller still times out.
#[tokio::test]
async fn a_pool_that_is_too_small_says_so() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), impatient(1, NEVER))
        .await
        .unwrap();
    let callers: Vec<_> = (0..60)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut conn = pool.get().await?;
                conn.batch_execute("select pg_sleep(0.02)").await.unwrap();
                Ok::<_, PoolError>(())
            })
        })
        .collect();
    let mut unserved = Vec::new();
    let mut count = 0;
    for caller in callers {
        match caller.await.unwrap() {
            Ok(()) => count += 1,
            Err(error) => unserved.push(error),
        }
    }
    let last = unserved.pop().unwrap();
    let PoolError::Timeout { diagnosis, .. } = &last else {
        panic!("{last:?}");
    };
    let Diagnosis::TooSmall { served } = **diagnosis else {
        panic!("{last}");
    };
    assert!(served > 0 && served <= count, "{served} of {count}");
    has(&last.to_string(), &["too small for its load", "raise max"]);
    assert_eq!(last.kind(), Kind::Busy);
}

/// case R14, case R01, req 0.24, req 0.29: a leak is named with the line that has it, and said in one place.
#[tokio::test]
async fn a_leak_is_named_with_its_line() {
    let (log, _default) = Log::capture();
    let db = TestDatabase::empty().await.unwrap();
    let pool = open(&db, impatient(1, Duration::from_millis(100))).await;
    let (mut leaked, line) = (pool.get().await.unwrap(), line!());
    with_canary(&mut leaked).await.unwrap();
    let (error, diagnosis) = diagnosed(&pool).await;
    let Diagnosis::Leaked { count: 1, longest } = diagnosis else {
        panic!("{error}");
    };
    assert!(longest.held >= Duration::from_millis(300) && longest.is_idle());
    let line = format!("tests/it/holders/diagnosis.rs:{line}:");
    has(
        &error.to_string(),
        &[
            "it leaks",
            &line,
            "idle outside a transaction",
            "last: select length(…",
        ],
    );
    assert_eq!(error.kind(), Kind::Busy);
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(pool.status().checkouts.timed_out, 1);
    // The leak has its own event; the timeout is returned and not logged as well.
    assert!(log.saying("no connection").is_empty());
    assert_eq!(log.saying(super::LONG).len(), 1);
    drop(leaked);
    pool.rests().await;
}

/// req 0.29: a holder that is idle for less than the threshold is named, but not called a leak.
#[tokio::test]
async fn a_hold_below_the_threshold_is_no_leak() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), impatient(1, NEVER))
        .await
        .unwrap();
    let _held = pool.get().await.unwrap();
    let (error, diagnosis) = diagnosed(&pool).await;
    assert!(
        matches!(diagnosis, Diagnosis::Withheld { count: 1, .. }),
        "{error}"
    );
    has(&error.to_string(), &["did not come back", "diagnosis.rs:"]);
}

/// req 0.29: a long transaction is named with its label and what it runs, without the values.
#[tokio::test]
async fn a_long_transaction_is_named_with_its_label_and_its_statement() {
    let db = TestDatabase::empty().await.unwrap();
    let more = [
        ("APP_DB__PROFILE__MAX", "1"),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "300ms"),
    ];
    let database = database(&db.url(), &more).await;
    let report = database
        .transaction()
        .label("nightly report")
        .run_once(async |conn| {
            let sleeping = diesel::sql_query("select pg_sleep(60), $1").bind::<Text, _>("canary");
            sleeping.execute(conn).await
        });
    let starved = async {
        wait_until("it runs", SOON, async || {
            let backends = db.backends("app-db").await.unwrap();
            backends
                .iter()
                .any(|backend| backend.query.contains("pg_sleep"))
        })
        .await;
        database.get().await.unwrap_err()
    };
    let error = tokio::select! {
        outcome = report => panic!("{outcome:?}"),
        error = starved => error,
    };
    let Error::Pool(PoolError::Timeout { diagnosis, .. }) = &error else {
        panic!("{error:?}");
    };
    let Diagnosis::LongTransaction { count: 1, longest } = &**diagnosis else {
        panic!("{error}");
    };
    assert_eq!(longest.label, Some("nightly report"));
    assert!(longest.running.unwrap() >= Duration::from_millis(300));
    let shown = error.to_string();
    has(
        &shown,
        &[
            "long transactions",
            "(nightly report)",
            "running for",
            "select pg_sleep(60), $1",
        ],
    );
    assert!(!format!("{shown}{error:?}").contains("canary"), "{shown}");
}

/// req 0.29: a transaction that nobody works on is told apart from one that runs a statement.
#[tokio::test]
async fn a_transaction_left_idle_is_a_long_one_too() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), impatient(1, Duration::from_millis(100)))
        .await
        .unwrap();
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("begin; select 1").await.unwrap();
    let (error, diagnosis) = diagnosed(&pool).await;
    let Diagnosis::LongTransaction { longest, .. } = diagnosis else {
        panic!("{error}");
    };
    assert!(longest.is_in_transaction() && longest.running.is_none());
    has(&error.to_string(), &["idle in a transaction"]);
}

/// req 0.30: a silent server, a refusing server, and an unknown name.
#[tokio::test]
async fn a_server_that_is_not_reached_is_told_apart_from_a_full_pool() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    proxy.set(Fault::Stall).await;
    let silent = db.proxied_url(&proxy);
    let refusing = "postgres://u:canary@127.0.0.1:1/d".to_owned();
    // No server is asked for a label this long.
    let unknown = format!("postgres://u:canary@{}.invalid:5432/d", "x".repeat(64));
    let expected = [
        (silent, ConnectFailure::TimedOut, "does not answer"),
        (refusing, ConnectFailure::Unreachable, "is not reached"),
        (unknown, ConnectFailure::UnknownHost, "name is not resolved"),
    ];
    for (target, failure, words) in expected {
        let pool = Pool::connect_lazy(url(&target), impatient(1, NEVER));
        let (error, diagnosis) = diagnosed(&pool).await;
        let Diagnosis::Unreachable { failure: found } = diagnosis else {
            panic!("{error}");
        };
        assert_eq!(found, failure, "{error}");
        assert_eq!(error.kind(), Kind::Down);
        has(&error.to_string(), &[words]);
        assert!(!format!("{error}{error:?}").contains("canary"), "{error}");
    }
}

/// req 0.30: the network is what takes the time, while open connections work on.
#[tokio::test]
async fn slow_connecting_is_told_apart_from_a_full_pool() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let pool = Pool::connect(url(&db.proxied_url(&proxy)), impatient(2, NEVER))
        .await
        .unwrap();
    let _held = pool.get().await.unwrap();
    proxy.set(Fault::Stall).await;
    let (error, diagnosis) = diagnosed(&pool).await;
    assert!(
        matches!(diagnosis, Diagnosis::Connecting { dialling: 1 }),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Busy);
    has(&error.to_string(), &["connecting takes longer", "network"]);
}

/// req 0.30: the open connections do not answer; no waiting caller is told that the pool is full.
#[tokio::test]
async fn a_network_that_swallows_pings_is_told_apart_from_a_full_pool() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let mut profile = impatient(1, NEVER);
    profile.validate_after = Duration::ZERO;
    profile.validation_timeout = SOON;
    let pool = Pool::connect(url(&db.proxied_url(&proxy)), profile)
        .await
        .unwrap();
    proxy.set(Fault::Stall).await;
    let (first, second) = tokio::join!(diagnosed(&pool), diagnosed(&pool));
    for (error, diagnosis) in [first, second] {
        assert!(
            matches!(diagnosis, Diagnosis::Silent { unanswered: 1 }),
            "{error}"
        );
        has(&error.to_string(), &["do not answer", "network"]);
    }
    proxy.set(Fault::None).await;
    assert!(pool.get().await.is_ok());
}

/// case R04: the server gives the pool no further connections.
#[tokio::test]
async fn a_pool_that_cannot_grow_says_so() {
    let db = TestDatabase::empty().await.unwrap();
    db.limit_connections(1).await.unwrap();
    let pool = open(&db, impatient(2, NEVER)).await;
    let held = pool.get().await.unwrap();
    let (error, diagnosis) = diagnosed(&pool).await;
    let Diagnosis::CannotGrow { open: 1, failure } = diagnosis else {
        panic!("{error}");
    };
    assert_eq!(failure, ConnectFailure::TooManyConnections);
    assert_eq!(error.kind(), Kind::Busy);
    has(&error.to_string(), &["has 1 open and cannot open more"]);
    drop(held);
    db.limit_connections(2).await.unwrap();
    pool.rests().await;
}

/// case F1: a server that does not close a discarded connection holds up the pool.
#[tokio::test]
async fn a_place_that_the_server_is_still_closing_is_named() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let pool = open(&db, impatient(1, NEVER)).await;
    let mut conn = pool.get().await.unwrap();
    let pid = conn.backend_pid();
    let sleeping = conn.batch_execute("select pg_sleep(25)");
    timeout(Duration::from_millis(50), sleeping)
        .await
        .unwrap_err();
    let frozen = cluster.freeze_backend(pid);
    drop(conn);
    let (error, diagnosis) = diagnosed(&pool).await;
    assert!(
        matches!(diagnosis, Diagnosis::Closing { closing: 1 }),
        "{error}"
    );
    frozen.thaw();
    pool.rests().await;
}
