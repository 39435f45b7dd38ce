//! The queue in front of a pool: whose turn it is, how many may wait, for how long, and what it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use app_db::{Kind, Pool, PoolError};
use diesel_async::SimpleAsyncConnection;
use futures_util::future::{FutureExt, join_all};
use harness::{Cluster, ClusterOptions, Fault, Proxy, TestDatabase, wait_until};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::{open, open_at, watched};
use crate::pool::{sized, url};
use crate::transaction::database;

/// Takes all connections that are available.
async fn all_of(pool: &Pool) -> Vec<db_pool::Connection> {
    let held = (0..pool.status().max).map(|_| pool.get());
    futures_util::future::try_join_all(held).await.unwrap()
}

/// case R01: a caller chooses how long it waits, and its timeout names the cause.
#[tokio::test]
async fn a_caller_may_bring_its_own_time() {
    let db = TestDatabase::empty().await.unwrap();
    let database = watched(
        &db,
        database(&db.url(), &[("APP_DB__PROFILE__MAX", "2")]).await,
    );
    let held = [database.get().await.unwrap(), database.get().await.unwrap()];
    let began = Instant::now();
    let error = database
        .get_timeout(Duration::from_millis(300))
        .await
        .unwrap_err();
    // The watch checks that it is not too late.
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(295), "{waited:?}");
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.to_string().contains("2 in use"), "{error}");

    // Neither of these waits: the first has no time, and the second does not queue.
    let pool = database.pool("write").unwrap();
    let at_once = pool.get_timeout(Duration::ZERO);
    let told = at_once
        .now_or_never()
        .expect("there is nothing to wait for");
    assert!(matches!(told, Err(PoolError::Timeout { .. })), "{told:?}");
    let told = pool.try_get().now_or_never();
    let error = told.expect("it does not queue").unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    let PoolError::InUse { status, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((status.in_use, status.waiting), (2, 0));
    assert_eq!(pool.status().checkouts.timed_out, 2);
    assert_eq!(pool.status().checkouts.queued, 1);

    drop(held);
    drop([
        pool.try_get().await.unwrap(),
        database.try_get().await.unwrap(),
    ]);
    drop(pool.get_timeout(Duration::ZERO).await.unwrap());
    assert_eq!(pool.status().connects.opened, 2);
    database.rests().await;
}

/// case R01: a caller that does not queue may still get a new connection, and does not overtake callers in
/// the queue.
#[tokio::test]
async fn a_caller_that_does_not_queue_connects_and_does_not_overtake() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = watched(&db, Pool::connect_lazy(url(&db.url()), sized(1)));
    let held = pool.try_get().await.unwrap();
    assert_eq!(pool.status().connects.opened, 1);
    let mut queued = Box::pin(pool.get());
    assert!(futures_util::poll!(&mut queued).is_pending());
    drop(held);
    // The caller in the queue has not looked yet, but it is its turn.
    assert!(matches!(pool.try_get().await, Err(PoolError::InUse { .. })));
    drop(queued.await.unwrap());
    drop(pool.try_get().await.unwrap());
    pool.rests().await;
}

/// case F9, case F11: callers with less time than a ping takes do not throw sound connections away.
#[tokio::test]
async fn a_ping_outlives_the_caller_that_had_no_time_for_it() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let mut profile = sized(3);
    profile.validate_after = Duration::ZERO;
    profile.validation_timeout = SOON;
    let pool = open_at(&db, &db.proxied_url(&proxy), profile).await;
    drop(all_of(&pool).await);
    proxy.set(Fault::HoldReplies).await;
    for _ in 0..3 {
        let error = pool.get_timeout(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        let mut given_up = Box::pin(pool.get());
        assert!(futures_util::poll!(&mut given_up).is_pending());
    }
    proxy.set(Fault::None).await;
    wait_until("their pings were answered", SOON, async || {
        pool.status().idle == 3
    })
    .await;
    let status = pool.status();
    assert_eq!(
        (status.connects.opened, status.closed.discarded),
        (3, 0),
        "{status:?}"
    );
    assert_eq!(db.backends("app-db").await.unwrap().len(), 3);
    pool.rests().await;
}

/// case R15, req 4.18, req 4.49, req 0.12, req 0.13, req 1.18, req 3.01, req 3.21, req 3.35, req 4.32: beyond
/// the bound callers are refused at once, and waits stay bounded.
#[tokio::test]
async fn beyond_the_bound_of_the_queue_callers_are_refused_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(5);
    profile.max_waiting = Some(100);
    profile.checkout_timeout = Duration::from_secs(60);
    let pool = open(&db, profile).await;
    let held = all_of(&pool).await;
    let callers: Vec<_> = (0..1_000)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.get().await.map(drop) })
        })
        .collect();
    // Nobody has returned a connection, so every finished caller was refused.
    wait_until("all but 100 were refused", SOON, async || {
        callers.iter().filter(|caller| caller.is_finished()).count() == 900
    })
    .await;
    let status = pool.status();
    assert_eq!((status.waiting, status.checkouts.refused), (100, 900));
    drop(held);
    let outcomes = join_all(callers).await;
    let (served, refused): (Vec<_>, Vec<_>) = outcomes
        .into_iter()
        .map(Result::unwrap)
        .partition(Result::is_ok);
    assert_eq!((served.len(), refused.len()), (100, 900));
    for error in refused.into_iter().map(Result::unwrap_err) {
        assert!(matches!(error, PoolError::QueueFull { waiting: 100, .. }));
        assert_eq!(error.kind(), Kind::Busy);
    }

    // What the queue was like is in the status.
    let status = pool.status();
    assert_eq!((status.max, status.open, status.idle), (5, 5, 5));
    assert_eq!(
        (status.in_use, status.waiting, status.checkouts.queued),
        (0, 0, 100)
    );
    assert_eq!(status.checkouts.waits.count, 106, "and 6 at once");
    assert!(
        status.checkouts.waits.p50 > Duration::ZERO
            && status.checkouts.waits.p99 >= status.checkouts.waits.p50
    );
    assert!(status.checkouts.queued_for >= status.checkouts.waits.p50 * 50);
    assert!(status.checkouts.queued_for <= status.checkouts.waits.max * 101);
    assert_eq!(db.backends("app-db").await.unwrap().len(), 5);
    pool.rests().await;
}

/// case R16, req 4.11, req 4.37: a pool that is saturated takes nothing from another one.
#[tokio::test]
async fn a_saturated_pool_does_not_slow_another_one_down() {
    let db = TestDatabase::empty().await.unwrap();
    let sizes = [
        ("APP_DB__POOLS__BATCH__MAX", "2"),
        ("APP_DB__POOLS__BATCH__MAX_WAITING", "5"),
        ("APP_DB__POOLS__BATCH__APPLICATION_NAME", "batch"),
    ];
    // The probe of a pool that is full logs in beside it.
    let database = watched(&db, database(&db.url(), &sizes).await).with_sessions(3);
    let batch = database.pool("batch").unwrap().clone();
    let working: Vec<_> = (0..7)
        .map(|_| {
            let batch = batch.clone();
            tokio::spawn(async move {
                let mut conn = batch.get().await?;
                conn.batch_execute("select pg_sleep(60)").await.unwrap();
                Ok::<_, PoolError>(())
            })
        })
        .collect();
    wait_until("batch is full, and its queue too", SOON, async || {
        batch.status().waiting == 5 && db.backends("batch").await.unwrap().len() == 2
    })
    .await;
    for _ in 0..200 {
        let mut conn = database.get().await.unwrap();
        conn.batch_execute("select 1").await.unwrap();
    }
    let error = batch.get().await.unwrap_err();
    assert!(matches!(error, PoolError::QueueFull { waiting: 5, .. }));
    // A pool that is at work is not ill.
    assert!(database.health().await.others[0].is_healthy());

    assert_eq!(batch.status().waiting, 5);
    let write = &database.status()[0];
    assert_eq!((write.checkouts.queued, write.checkouts.timed_out), (0, 0));
    // Besides the 200: one at start. The probe has a connection of its own.
    assert_eq!(
        (write.checkouts.waits.count, write.checkouts.waits.p99),
        (201, Duration::ZERO)
    );
    assert_eq!(write.connects.opened, 1);
    for task in working {
        task.abort();
    }
    database.rests().await;
}

/// case F10: 50 tasks that all want the one connection again and again have it equally often.
#[tokio::test]
async fn one_connection_is_shared_evenly() {
    const TASKS: usize = 50;
    let db = TestDatabase::empty().await.unwrap();
    let pool = open(&db, sized(1)).await;
    let counts: Arc<Vec<AtomicU32>> = Arc::new((0..TASKS).map(|_| AtomicU32::new(0)).collect());
    let tasks: Vec<JoinHandle<()>> = (0..TASKS)
        .map(|nth| {
            let (pool, counts) = (pool.clone(), Arc::clone(&counts));
            tokio::spawn(async move {
                loop {
                    let mut conn = pool.get().await.unwrap();
                    conn.batch_execute("select 1").await.unwrap();
                    counts[nth].fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let shares = || {
        counts
            .iter()
            .map(|count| f64::from(count.load(Ordering::Relaxed)))
    };
    wait_until("each could have had 40", 3 * SOON, async || {
        shares().sum::<f64>() >= 40.0 * TASKS as f64
    })
    .await;
    tasks.iter().for_each(JoinHandle::abort);
    let squares = shares().map(|share| share * share).sum::<f64>();
    let jain = shares().sum::<f64>().powi(2) / (TASKS as f64 * squares);
    assert!(jain >= 0.95, "{jain}: {counts:?}");
    assert_eq!(pool.status().connects.opened, 1);
    pool.rests().await;
}

/// case F11: callers that go at random, in the queue or with a connection, leave every place behind.
#[tokio::test]
async fn callers_that_go_at_random_leave_their_places_behind() {
    const MAX: u32 = 5;
    let db = TestDatabase::empty().await.unwrap();
    let pool = open(&db, sized(MAX)).await;
    let served = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..60)
        .map(|nth: u64| {
            let (pool, served) = (pool.clone(), Arc::clone(&served));
            let mut chance = fastrand::Rng::with_seed(nth);
            tokio::spawn(async move {
                for _ in 0..30 {
                    let patience = Duration::from_micros(chance.u64(0..20_000));
                    let work = async {
                        let mut conn = pool.get().await.unwrap();
                        conn.batch_execute("select pg_sleep(0.001)").await.unwrap();
                        served.fetch_add(1, Ordering::Relaxed);
                    };
                    let _outcome = timeout(patience, work).await;
                }
            })
        })
        .collect();
    // The one who stays is served, however many go around it.
    for _ in 0..20 {
        drop(timeout(SOON, pool.get()).await.unwrap().unwrap());
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(served.load(Ordering::Relaxed) > 0, "{}", pool.status());
    wait_until("nobody is left", SOON, async || pool.status().in_use == 0).await;
    let held = timeout(SOON, all_of(&pool)).await.unwrap();
    assert_eq!(held.len(), MAX as usize);
    assert!(matches!(pool.try_get().await, Err(PoolError::InUse { .. })));
    let status = pool.status();
    assert_eq!((status.open, status.waiting), (MAX, 0), "{status:?}");
    assert_eq!(db.backends("app-db").await.unwrap().len(), MAX as usize);
    drop(held);
    pool.rests().await;
}

/// case F1: fifty dropped queries never lead to fifty new backends beside fifty running ones.
#[tokio::test]
async fn replacements_wait_until_what_they_replace_is_gone() {
    const MAX: usize = 50;
    let cluster = Cluster::start(ClusterOptions::default().max_connections(MAX as u32 * 3))
        .await
        .unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let mut profile = sized(MAX as u32);
    profile.checkout_timeout = Duration::from_secs(60);
    let pool = open(&db, profile).await;
    let mut held = all_of(&pool).await;
    let running = held.iter_mut().map(|conn| async {
        let sleeping = conn.batch_execute("select pg_sleep(60)");
        timeout(Duration::from_millis(100), sleeping)
            .await
            .unwrap_err();
    });
    join_all(running).await;
    let frozen: Vec<_> = held
        .iter()
        .map(|conn| cluster.freeze_backend(conn.backend_pid()))
        .collect();
    drop(held);
    let callers: Vec<_> = (0..MAX)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.get().await.unwrap() })
        })
        .collect();
    wait_until("they wait", SOON, async || {
        pool.status().waiting == MAX as u32
    })
    .await;
    let status = pool.status();
    assert_eq!(
        (status.in_use, status.open, status.connects.opened),
        (0, 50, 50)
    );
    assert_eq!(db.backends("app-db").await.unwrap().len(), MAX);

    for backend in frozen {
        backend.thaw();
    }
    let mut most = 0;
    while !callers.iter().all(JoinHandle::is_finished) {
        most = most.max(db.backends("app-db").await.unwrap().len());
    }
    assert!(most <= MAX, "{most} at a time");
    let replaced: Vec<_> = join_all(callers).await;
    assert_eq!((replaced.len(), pool.status().connects.opened), (MAX, 100));
    let backends = db.backends("app-db").await.unwrap();
    assert!(
        backends
            .iter()
            .all(|backend| !backend.query.contains("pg_sleep"))
    );
    drop(replaced);
    pool.rests().await;
}

/// case F10: the first caller that has passed the gate gets the first connection, whichever task looks first.
#[tokio::test]
async fn nobody_overtakes_behind_the_gate_either() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let pool = open_at(&db, &db.proxied_url(&proxy), sized(3)).await;
    let held = pool.get().await.unwrap();
    // What they would have made for them does not come.
    proxy.set(Fault::HoldReplies).await;
    let (mut first, mut second) = (Box::pin(pool.get()), Box::pin(pool.get()));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    assert_eq!(pool.status().waiting, 0, "they are through the gate");
    drop(held);
    assert!(futures_util::poll!(&mut second).is_pending());
    let had = timeout(SOON, &mut first).await.unwrap().unwrap();
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(had);
    drop(timeout(SOON, &mut second).await.unwrap().unwrap());
    assert_eq!(pool.status().connects.opened, 1);

    // One that goes leaves its turn to the next.
    let held = pool.get().await.unwrap();
    let (mut first, mut second) = (Box::pin(pool.get()), Box::pin(pool.get()));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(held);
    drop(first);
    drop(timeout(SOON, &mut second).await.unwrap().unwrap());
    proxy.set(Fault::None).await;
    pool.rests().await;
}
