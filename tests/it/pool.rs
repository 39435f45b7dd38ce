//! What a pool hands out, and what happens with returned connections.

mod kept;
mod returned;
mod unreachable;

use std::time::{Duration, Instant};

use app_db::{Environment, Kind, Pool, PoolError, PoolProfile, PooledUrl};
use diesel::sql_types::Integer;
use diesel::{IntoSql, QueryResult};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::TestDatabase;

use crate::SOON;
use crate::at_rest::{Watched, open};

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
    assert_eq!(conn.backend_pid(), pid);
    drop(conn);
    let mut again = pool.get().await.unwrap();
    assert_eq!(backend_pid(&mut again).await, pid);
    assert_eq!(db.backends("app-db").await.unwrap().len(), 1);
    drop(again);
    pool.rests().await;
}

/// req 1.01, req 1.17, req 3.02: the parts of connecting are timed apart.
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
    // The proxy delays neither, and what else delays them is over by another login.
    let (mut dns, mut tcp) = (phases.dns, phases.tcp);
    for _ in 0..5 {
        let again = Pool::connect(url(&db.proxied_url(&proxy)), sized(1)).await;
        let again = again.unwrap().status().connects.newest.unwrap();
        (dns, tcp) = (dns.min(again.dns), tcp.min(again.tcp));
    }
    assert!(dns < round_trip && tcp < round_trip, "{dns:?}, {tcp:?}");
    // SCRAM takes several round trips, finding out what answers at least one.
    assert!(phases.authentication > 2 * round_trip, "{phases}");
    assert!(phases.set_up > round_trip, "{phases}");
    assert!(phases.total() < SOON, "{phases}");
    let all = pool.status().connects.times;
    assert_eq!(all.count, 1, "{all:?}");
    // It keeps two significant digits.
    let inexact = phases.total() / 50;
    assert!(all.p99.abs_diff(phases.total()) <= inexact, "{all:?}");
}

/// case R01: a third caller of a pool of two gets the reason in time, and nothing is lost.
#[tokio::test]
async fn a_full_pool_times_out_with_its_state() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(2);
    profile.checkout_timeout = Duration::from_millis(300);
    let pool = open(&db, profile).await;
    let held = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    let began = Instant::now();
    let error = pool.get().await.unwrap_err();
    // The watch checks that it is not too late.
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(295), "{waited:?}");
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

/// A time that the clock cannot represent means "for ever", and causes no panic.
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
