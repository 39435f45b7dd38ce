//! What a pool hands out, and what becomes of what comes back.

use std::time::{Duration, Instant};

use app_db::{Environment, Kind, Pool, PoolError, PoolProfile, PooledUrl};
use db_pool::ConnectFailure;
use diesel::sql_types::{Integer, Text};
use diesel::{IntoSql, QueryResult};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{TestDatabase, wait_until};
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::{NoPool, Watched, open, open_at, unserved, watched};

/// A profile whose size a test chooses, without connections made ahead.
pub(crate) fn sized(max: u32) -> PoolProfile {
    let mut profile = PoolProfile::of(&Environment::Test);
    profile.max = max;
    profile.min_idle = 0;
    profile
}

pub(crate) fn url(text: &str) -> PooledUrl {
    PooledUrl::parse(text).unwrap()
}

async fn pool_of(db: &TestDatabase, max: u32) -> Watched {
    open(db, sized(max)).await
}

async fn backend_pid(conn: &mut AsyncPgConnection) -> i32 {
    diesel::dsl::sql::<Integer>("select pg_backend_pid()")
        .get_result(conn)
        .await
        .unwrap()
}

async fn existing_code(conn: &mut AsyncPgConnection, n: i32) -> QueryResult<i32> {
    diesel::select(n.into_sql::<Integer>())
        .get_result(conn)
        .await
}

/// Functions over `&mut AsyncPgConnection` work unchanged, and a clean connection is used again.
#[tokio::test]
async fn existing_code_runs_on_a_pooled_connection() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 4).await;
    let mut conn = pool.get().await.unwrap();
    assert_eq!(existing_code(&mut conn, 7).await, Ok(7));
    let pid = backend_pid(&mut conn).await;
    assert_eq!(conn.observed().backend_pid(), pid);
    drop(conn);
    let mut again = pool.get().await.unwrap();
    assert_eq!(backend_pid(&mut again).await, pid);
    assert_eq!(db.backends("app-db").await.unwrap().len(), 1);
    drop(again);
    pool.rests().await;
}

/// req 1.01, req 1.17: the parts of connecting are timed apart.
#[tokio::test]
async fn the_parts_of_connecting_are_timed() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = harness::Proxy::start(db.server().port()).await.unwrap();
    proxy
        .set(harness::Fault::Delay(Duration::from_millis(20)))
        .await;
    let pool = Pool::connect(url(&db.proxied_url(&proxy)), sized(1))
        .await
        .unwrap();
    let phases = pool.status().connects.newest.unwrap();
    let round_trip = Duration::from_millis(20);
    assert!(
        phases.dns < round_trip && phases.tcp < round_trip,
        "{phases}"
    );
    // SCRAM takes several round trips, finding out what answers at least one.
    assert!(phases.authentication > 2 * round_trip, "{phases}");
    assert!(phases.set_up > round_trip, "{phases}");
    assert!(phases.total() < SOON, "{phases}");
    let all = pool.status().connects.times;
    assert_eq!(all.count, 1, "{all:?}");
    assert!(all.p99.abs_diff(phases.total()) < round_trip, "{all:?}");
}

/// case R01: the third of two is told why, on time, and nothing is lost.
#[tokio::test]
async fn a_full_pool_times_out_with_its_state() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(2);
    profile.checkout_timeout = Duration::from_millis(300);
    let pool = open(&db, profile).await;
    let held = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    let began = Instant::now();
    let error = pool.get().await.unwrap_err();
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_millis(295) && waited < Duration::from_millis(550),
        "{waited:?}"
    );
    assert_eq!(error.kind(), Kind::Busy);
    let PoolError::Timeout {
        status,
        last_failure: None,
        longest_held: Some((_, holder)),
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(
        (status.max, status.in_use, status.idle, status.open),
        (2, 2, 0, 2)
    );
    assert!(holder.file().ends_with("pool.rs"), "{holder}");
    assert!(
        error
            .to_string()
            .contains("2 of 2 connections open, 2 in use"),
        "{error}"
    );
    drop(held);
    let again = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    drop(again);
    assert_eq!(
        (
            pool.status().connects.opened,
            pool.status().checkouts.timed_out
        ),
        (2, 1)
    );
    pool.rests().await;
}

/// case R02, case F6; req 4.47: a wrong password is said at once and not shown.
#[tokio::test]
async fn a_wrong_password_fails_fast() {
    let db = TestDatabase::empty().await.unwrap();
    let wrong = harness::url(
        db.server().port(),
        db.name(),
        db.role().name(),
        "wrongcanary",
    );
    let watch = watched(&db, NoPool);
    let began = Instant::now();
    let error = Pool::connect(url(&wrong), sized(2)).await.unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(error.sqlstate().unwrap().code(), "28P01");
    assert_eq!(
        error.connect_error().unwrap().failure(),
        ConnectFailure::Authentication
    );
    assert_eq!(error.kind(), Kind::Configuration);
    let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(!shown.contains("wrongcanary"), "{shown}");
    watch.rests().await;
}

/// case R02, case F6: the same with connections made ahead; one login fails and not one for each of them.
#[tokio::test]
async fn a_wrong_password_fails_fast_and_once_with_connections_made_ahead() {
    let db = TestDatabase::empty().await.unwrap();
    let wrong = harness::url(db.server().port(), db.name(), db.role().name(), "wrong");
    for _ in 0..5 {
        let began = Instant::now();
        let profile = PoolProfile::of(&Environment::Prod);
        let pool = watched(&db, Pool::connect_lazy(url(&wrong), profile));
        let error = pool.get().await.unwrap_err();
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(error.kind(), Kind::Configuration, "{error:?}");
        // Whoever comes next is told at once, without another login.
        pool.get().await.unwrap_err();
        assert!(pool.status().connects.failed <= 2, "{:?}", pool.status());
        pool.rests_unserved().await;
    }
}

/// case R03: a missing database and a role that may not log in fail fast, at start and later.
#[tokio::test]
async fn what_cannot_heal_is_reported_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    let missing = harness::url(
        db.server().port(),
        "no_such_db",
        db.role().name(),
        &db.password(),
    );
    let error = Pool::connect(url(&missing), sized(2)).await.unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "3D000");

    let pool = watched(&db, Pool::connect_lazy(url(&db.url()), sized(2)));
    let role = db.role().name();
    db.server()
        .sql(&format!("ALTER ROLE {role} NOLOGIN"))
        .await
        .unwrap();
    let began = Instant::now();
    let error = pool.get().await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(error.sqlstate().unwrap().code(), "28000");
    pool.rests_unserved().await;
}

/// An unreachable host is a connect error that names the address, within the connect timeout.
#[tokio::test]
async fn an_unreachable_host_is_named() {
    let mut profile = sized(1);
    profile.checkout_timeout = Duration::from_millis(400);
    let error = Pool::connect(url("postgres://u:canary@127.0.0.1:1/d"), profile)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Down);
    assert_eq!(
        error.connect_error().unwrap().failure(),
        ConnectFailure::Unreachable
    );
    let cause = error.connect_error().unwrap().to_string();
    assert!(
        cause.contains("127.0.0.1:1/d") && !cause.contains("canary"),
        "{cause}"
    );
}

/// case F1: a cancelled statement is cancelled on the server and its connection never handed out again.
#[tokio::test]
async fn a_cancelled_statement_costs_nobody_else_anything() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 1).await;
    let mut conn = pool.get().await.unwrap();
    let pid = backend_pid(&mut conn).await;
    let sleeping = diesel::sql_query("select pg_sleep(60)").execute(&mut conn);
    timeout(Duration::from_millis(100), sleeping)
        .await
        .unwrap_err();
    drop(conn);
    let began = Instant::now();
    let mut next = pool.get().await.unwrap();
    assert_ne!(backend_pid(&mut next).await, pid);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let running = db.backends("app-db").await.unwrap();
    assert!(
        running
            .iter()
            .all(|backend| !backend.query.contains("pg_sleep")),
        "{running:?}"
    );
    assert_eq!(pool.status().closed.discarded, 1);
    drop(next);
    pool.rests().await;
}

/// case F1 at its worst: the future is dropped before a byte of its query has left the process.
#[tokio::test(flavor = "current_thread")]
async fn a_query_dropped_before_it_was_sent_does_not_run_for_the_next_borrower() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create table t (x int)").await.unwrap();
    db.sql("grant all on t to public").await.unwrap();
    let pool = pool_of(&db, 1).await;
    let mut conn = pool.get().await.unwrap();
    {
        // Polled once: diesel has queued the statement, the driver's task has not run yet.
        let insert = conn.batch_execute("begin; insert into t values (1)");
        let mut insert = std::pin::pin!(insert);
        assert!(futures_util::poll!(&mut insert).is_pending());
    }
    drop(conn);
    let mut next = pool.get().await.unwrap();
    diesel::sql_query("insert into t values (2)")
        .execute(&mut next)
        .await
        .unwrap();
    drop(next);
    let seen: String = db
        .scalar("select string_agg(x::text, ',') from t")
        .await
        .unwrap();
    assert_eq!(seen, "2");
    assert_eq!(pool.status().closed.discarded, 1);
    pool.rests().await;
}

/// case F2, case F15, case R31: a BEGIN that diesel does not know of never reaches the next borrower.
#[tokio::test]
async fn a_transaction_left_open_is_rolled_back() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create table t (x int); grant all on t to public")
        .await
        .unwrap();
    let pool = pool_of(&db, 1).await;
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("BEGIN; insert into t values (1)")
        .await
        .unwrap();
    drop(conn);
    let mut next = pool.get().await.unwrap();
    diesel::sql_query("insert into t values (2)")
        .execute(&mut next)
        .await
        .unwrap();
    let seen: String = db
        .scalar("select string_agg(x::text, ',') from t")
        .await
        .unwrap();
    assert_eq!(seen, "2");
    assert_eq!(pool.status().closed.discarded, 1);
    drop(next);
    pool.rests().await;
}

/// case R13, req 0.22: a panic while a connection is held rolls back and gives the place free.
#[tokio::test]
async fn a_panic_in_a_transaction_rolls_back() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 1).await;
    let panicking = {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut conn = pool.get().await.unwrap();
            conn.transaction(async |conn| {
                diesel::sql_query("create table half_done (x int)")
                    .execute(conn)
                    .await?;
                assert!(
                    conn.batch_execute("select 1").await.is_err(),
                    "a panic on purpose"
                );
                QueryResult::Ok(())
            })
            .await
        })
    };
    assert!(panicking.await.unwrap_err().is_panic());
    let mut next = timeout(Duration::from_secs(1), pool.get())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(existing_code(&mut next, 1).await, Ok(1));
    let there: bool = db
        .scalar("select to_regclass('half_done') is not null")
        .await
        .unwrap();
    assert!(!there);
    drop(next);
    pool.rests().await;
}

/// A connection that a borrower has put in the place of another one is nobody's: what the pool knows is of
/// the other.
#[tokio::test]
async fn swapped_connections_are_not_kept() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 2).await;
    let mut one = pool.get().await.unwrap();
    let mut other = pool.get().await.unwrap();
    let pids = [backend_pid(&mut one).await, backend_pid(&mut other).await];
    std::mem::swap(&mut *one, &mut *other);
    one.batch_execute("begin").await.unwrap();
    drop((one, other));
    for _ in 0..2 {
        let mut next = pool.get().await.unwrap();
        assert!(!pids.contains(&backend_pid(&mut next).await));
        next.discard();
    }
    assert_eq!(pool.status().closed.dirty, 2);
    pool.rests().await;
}

/// The same with two pools: neither gets to the other's server. And with one that no pool has made.
#[tokio::test]
async fn a_connection_of_elsewhere_is_not_kept() {
    let (db, elsewhere) = tokio::join!(TestDatabase::empty(), TestDatabase::empty());
    let (db, elsewhere) = (db.unwrap(), elsewhere.unwrap());
    let pool = pool_of(&db, 1).await;
    let other_pool = pool_of(&elsewhere, 1).await;
    let mut conn = pool.get().await.unwrap();
    let mut other = other_pool.get().await.unwrap();
    std::mem::swap(&mut *conn, &mut *other);
    drop((conn, other));
    let foreign = AsyncPgConnection::establish(&elsewhere.url()).await;
    let mut conn = pool.get().await.unwrap();
    assert!(is_at(&mut conn, &db).await);
    assert!(is_at(&mut other_pool.get().await.unwrap(), &elsewhere).await);
    let taken = std::mem::replace(&mut *conn, foreign.unwrap());
    drop(conn);
    drop(taken);
    assert!(is_at(&mut pool.get().await.unwrap(), &db).await);
    assert_eq!(pool.status().closed.dirty, 2);
    pool.rests_with(other_pool).await;
}

async fn is_at(conn: &mut AsyncPgConnection, db: &TestDatabase) -> bool {
    let database: String = diesel::dsl::sql::<Text>("select current_database()::text")
        .get_result(conn)
        .await
        .unwrap();
    database == db.name()
}

/// A time that the clock cannot hold is any length of time, and no panic.
#[tokio::test]
async fn a_profile_can_have_time_without_end() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(1);
    for time in [
        &mut profile.checkout_timeout,
        &mut profile.connect_timeout,
        &mut profile.validate_after,
        &mut profile.validation_timeout,
    ] {
        *time = Duration::MAX;
    }
    profile.max_lifetime = Some(Duration::MAX);
    profile.idle_timeout = Some(Duration::MAX);
    profile.leak_threshold = Some(Duration::MAX);
    let pool = open(&db, profile).await;
    let held = pool.try_get().await.unwrap();
    let mut waiting = Box::pin(pool.get_timeout(Duration::MAX));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(held);
    drop(waiting.await.unwrap());
    pool.rests().await;
}

/// A borrower that puts its own instrumentation in our place gets a fresh connection replaced behind it.
#[tokio::test]
async fn a_connection_without_its_observer_is_not_kept() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 1).await;
    let mut conn = pool.get().await.unwrap();
    conn.set_instrumentation(|_: diesel::connection::InstrumentationEvent<'_>| {});
    drop(conn);
    assert_eq!(
        existing_code(&mut pool.get().await.unwrap(), 1).await,
        Ok(1)
    );
    assert_eq!(pool.status().closed.discarded, 1);
    pool.rests().await;
}

/// The first row of many is enough for `first()`; the rest of the answer does not cost the connection.
#[tokio::test]
async fn taking_only_the_first_row_keeps_the_connection() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 1).await;
    for _ in 0..20 {
        let mut conn = pool.get().await.unwrap();
        let first: String =
            diesel::dsl::sql::<Text>("select repeat('x', 9000) from generate_series(1, 50)")
                .get_result(&mut conn)
                .await
                .unwrap();
        assert_eq!(first.len(), 9000);
    }
    assert_eq!(
        (
            pool.status().connects.opened,
            pool.status().closed.discarded
        ),
        (1, 0)
    );
    pool.rests().await;
}

/// case R06: connections that the server ended while idle are never handed out.
#[tokio::test]
async fn terminated_idle_connections_are_not_seen_by_borrowers() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 5).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(pool.get().await.unwrap());
    }
    held.clear();
    db.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where application_name = 'app-db' and datname = current_database()",
    )
    .await
    .unwrap();
    wait_until("they have ended", SOON, async || {
        db.backends("app-db").await.unwrap().is_empty()
    })
    .await;
    for n in 0..200 {
        let mut conn = pool.get().await.unwrap();
        assert_eq!(existing_code(&mut conn, n).await, Ok(n));
    }
    pool.rests().await;
}

/// case R07: a connection that ends in mid-statement is replaced, and `min_idle` is kept.
#[tokio::test]
async fn the_keeper_refills_to_min_idle() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(4);
    profile.min_idle = 3;
    let pool = open(&db, profile).await;
    wait_until("three are idle", SOON, async || pool.status().idle == 3).await;
    let mut conn = pool.get().await.unwrap();
    let pid = backend_pid(&mut conn).await;
    let sleeping = tokio::spawn(async move {
        let outcome = diesel::sql_query("select pg_sleep(60)")
            .execute(&mut conn)
            .await;
        (outcome, conn.observed().last_error())
    });
    wait_until("it sleeps", SOON, async || {
        db.backends("app-db")
            .await
            .unwrap()
            .iter()
            .any(|b| b.query.contains("pg_sleep") && b.state == "active")
    })
    .await;
    db.sql(&format!("select pg_terminate_backend({pid})"))
        .await
        .unwrap();
    let (outcome, last) = sleeping.await.unwrap();
    outcome.unwrap_err();
    assert_eq!(last.unwrap().sqlstate().code(), "57P01");
    wait_until("three are idle again", SOON, async || {
        pool.status().idle == 3
    })
    .await;
    assert_eq!(pool.status().in_use, 0);
    pool.rests().await;
}

/// case R05, case R08, req 4.27: a pool survives a restart of its server without a restart of its own.
#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let cluster = harness::Cluster::start(harness::ClusterOptions::default())
        .await
        .unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let mut profile = sized(2);
    profile.checkout_timeout = Duration::from_secs(10);
    let pool = open(&db, profile).await;
    drop(pool.get().await.unwrap());
    cluster.stop(harness::Stop::Immediate).await.unwrap();
    let waiting = {
        let pool = pool.clone();
        tokio::spawn(async move {
            existing_code(&mut *pool.get().await?, 5)
                .await
                .map_err(|e| panic!("{e}"))
                .map_err(|e: PoolError| e)
        })
    };
    wait_until("connecting has failed", SOON, async || {
        pool.status().connects.failed > 0
    })
    .await;
    cluster.start_again().await.unwrap();
    let back = Instant::now();
    assert_eq!(waiting.await.unwrap().unwrap(), 5);
    assert!(
        back.elapsed() < Duration::from_secs(2),
        "{:?}",
        back.elapsed()
    );
    assert!(pool.status().connects.failed <= 10);
    pool.rests().await;
}

/// case R09, case R10, req 4.26, req 4.38: lifetime and idle timeout end connections, spread out and not below
/// `min_idle`.
#[tokio::test]
async fn old_and_idle_connections_end() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(5);
    profile.min_idle = 2;
    profile.idle_timeout = Some(Duration::from_millis(200));
    let pool = open(&db, profile).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(pool.get().await.unwrap());
    }
    held.clear();
    wait_until("three are gone", SOON, async || {
        pool.status().idle == 2 && db.backends("app-db").await.unwrap().len() == 2
    })
    .await;
    let status = pool.status();
    assert_eq!(
        (status.closed.by_idle_timeout, status.closed.by_age),
        (3, 0)
    );
    pool.rests().await;

    let mut profile = sized(1);
    profile.max_lifetime = Some(Duration::from_millis(200));
    let short = open(&db, profile).await;
    let mut conn = short.get().await.unwrap();
    let pid = backend_pid(&mut conn).await;
    drop(conn);
    wait_until("it is replaced", SOON, async || {
        backend_pid(&mut short.get().await.unwrap()).await != pid
    })
    .await;
    let status = short.status();
    assert!(status.closed.by_age > 0, "{status:?}");
    assert_eq!(status.closed.by_idle_timeout + status.closed.by_uses, 0);
    short.rests().await;
}

/// req 2.05, req 2.13: a connection is replaced after its last use.
#[tokio::test]
async fn a_connection_is_used_only_so_often() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(1);
    profile.max_uses = 3;
    // The first use is the pool's own proof.
    let pool = Pool::connect(url(&db.url()), profile).await.unwrap();
    let mut pids = Vec::new();
    for _ in 0..6 {
        pids.push(backend_pid(&mut pool.get().await.unwrap()).await);
    }
    pids.dedup();
    assert_eq!(pids.len(), 3, "{pids:?}");
    assert_eq!(pool.status().closed.by_uses, 2);
}

/// case R12: dropping the pool first is fine; what is held is closed when it comes back.
#[tokio::test]
async fn the_last_handle_may_go_before_its_connections() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool_of(&db, 3).await;
    let mut held = pool.get().await.unwrap();
    drop(pool.get().await.unwrap());
    let resting = pool.without_a_handle();
    assert_eq!(existing_code(&mut held, 3).await, Ok(3));
    drop(held);
    resting.rests().await;
}

/// case R04: a server without room is waited for, and named when the wait was in vain.
#[tokio::test]
async fn a_server_that_is_full_is_the_cause_of_the_timeout() {
    let db = TestDatabase::empty().await.unwrap();
    db.limit_connections(1).await.unwrap();
    let mut profile = sized(2);
    profile.checkout_timeout = Duration::from_millis(500);
    let pool = open(&db, profile).await;
    let held = pool.get().await.unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error, PoolError::Timeout { .. }), "{error:?}");
    assert_eq!(error.sqlstate().unwrap().code(), "53300");
    drop(held);
    db.limit_connections(2).await.unwrap();
    pool.rests().await;
}

/// case F8: a server that accepts and stays silent does not hold a caller beyond its deadline.
#[tokio::test]
async fn a_silent_server_is_given_up_on_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut profile = sized(1);
    profile.connect_timeout = Duration::from_millis(200);
    profile.checkout_timeout = Duration::from_millis(500);
    let pool = unserved(Pool::connect_lazy(
        url(&format!("postgres://u:p@127.0.0.1:{port}/d")),
        profile,
    ));
    let began = Instant::now();
    let error = pool.get().await.unwrap_err();
    assert!(
        began.elapsed() < Duration::from_millis(750),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        error.connect_error().unwrap().failure(),
        ConnectFailure::TimedOut
    );
    pool.rests_unserved().await;
}

/// case F9, req 1.07, req 4.17: a connection that has gone silent is found out by a ping that ends, and is thrown away.
#[tokio::test]
async fn a_half_open_connection_is_thrown_away() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = harness::Proxy::start(db.server().port()).await.unwrap();
    let mut profile = sized(2);
    profile.validate_after = Duration::ZERO;
    profile.validation_timeout = Duration::from_millis(100);
    let pool = open_at(&db, &db.proxied_url(&proxy), profile).await;
    proxy.set(harness::Fault::Stall).await;
    let stalled = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.get().await.map(drop) })
    };
    wait_until("it is thrown away", SOON, async || {
        pool.status().closed.discarded > 0
    })
    .await;
    proxy.set(harness::Fault::None).await;
    stalled.await.unwrap().unwrap();
    pool.rests().await;
}
