//! Pools and runtimes end in any order, and a pool that closes hands nothing out any more.

use db_pool::plumbing;
use std::time::{Duration, Instant};

use app_db::{Kind, Pool};
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Fault, Proxy, TestDatabase, wait_until};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::{open, open_at, watched};
use crate::pool::{sized, url};
use crate::transaction::database;

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

async fn table() -> TestDatabase {
    let db = TestDatabase::empty().await.unwrap();
    db.sql(
        "create table t (id int primary key, n int not null default 0); \
         insert into t values (1), (2); grant all on t to public",
    )
    .await
    .unwrap();
    db
}

async fn nothing_is_left(db: &TestDatabase) {
    wait_until("the server has closed them all", SOON, async || {
        db.backends("app-db").await.unwrap().is_empty()
    })
    .await;
}

/// case R12: idle and held connections and the pool itself may be dropped where no runtime is entered.
#[test]
fn everything_may_be_dropped_outside_a_runtime() {
    let runtime = runtime();
    let (db, pool, held, dirty) = runtime.block_on(async {
        let db = TestDatabase::empty().await.unwrap();
        let pool = open(&db, sized(3)).await;
        let (held, mut dirty) = (pool.get().await.unwrap(), pool.get().await.unwrap());
        dirty.batch_execute("begin").await.unwrap();
        drop(pool.get().await.unwrap());
        (db, pool, held, dirty)
    });
    assert_eq!((pool.status().idle, pool.status().in_use), (1, 2));
    drop(dirty);
    drop(held);
    assert_eq!(pool.status().in_use, 0);
    runtime.block_on(pool.without_a_handle().rests());
    drop(db);
}

/// case R12: the pool's own runtime may end before the pool does.
#[test]
fn a_pool_outlives_its_runtime_without_a_panic() {
    let (ended, other) = (runtime(), runtime());
    let db = other.block_on(table());
    let (pool, held) = ended.block_on(async {
        let pool = open(&db, sized(2)).await;
        let held = pool.get().await.unwrap();
        drop(pool.get().await.unwrap());
        (pool, held)
    });
    drop(ended);
    drop(held);
    other.block_on(pool.without_a_handle().rests());
}

/// case F1, case R31: the runtime of a borrower ends while the answer to its last statement is arriving.
#[test]
fn a_connection_whose_borrowers_runtime_ends_is_not_handed_out_dirty() {
    let runtime = runtime();
    let (db, pool) = runtime.block_on(async {
        let db = table().await;
        let pool = open(&db, sized(1)).await;
        (db, pool)
    });
    let borrowers = Builder::new_current_thread().enable_all().build().unwrap();
    borrowers.block_on(async {
        let mut conn = pool.get().await.unwrap();
        conn.batch_execute("begin; update t set n = 77 where id = 1")
            .await
            .unwrap();
        // Its first row is there, and the rest would take long.
        let rows = "select repeat('x', 9000) from generate_series(1, 2) \
            union all select pg_sleep(25)::text";
        let _first: String = diesel::dsl::sql::<Text>(rows)
            .get_result(&mut conn)
            .await
            .unwrap();
        drop(conn);
    });
    drop(borrowers);
    runtime.block_on(async {
        let began = Instant::now();
        let mut next = pool.get().await.unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
        set_five(&mut next).await;
        let seen: String = db
            .scalar("select string_agg(n::text, ',' order by id) from t")
            .await
            .unwrap();
        assert_eq!(seen, "0,5");
        assert_eq!(pool.status().closed.discarded, 1);
        drop(next);
        // Nor does the statement go on for nobody.
        pool.rests().await;
        drop(db);
    });
}

async fn set_five(conn: &mut AsyncPgConnection) {
    conn.batch_execute("update t set n = 5 where id = 2")
        .await
        .unwrap();
}

/// case R11: a connection that was being pinged when the pool began to close is not handed out.
#[tokio::test]
async fn a_pool_that_closes_during_a_ping_hands_nothing_out() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let mut profile = sized(1);
    profile.validate_after = Duration::ZERO;
    profile.validation_timeout = Duration::from_secs(3);
    let pool = open_at(&db, &db.proxied_url(&proxy), profile).await;
    proxy.set(Fault::HoldReplies).await;
    let pinging = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.get().await.map(drop) })
    };
    wait_until("its ping is on its way", SOON, async || {
        pool.status().idle == 0
    })
    .await;
    plumbing::begin_close(&pool);
    proxy.set(Fault::None).await;
    let refused = timeout(SOON, pinging).await.unwrap().unwrap();
    assert_eq!(refused.unwrap_err().kind(), Kind::ShuttingDown);
    assert_eq!(pool.close(SOON).await.abandoned, 0);
    assert_eq!(pool.status().open, 0);
    nothing_is_left(&db).await;
    pool.rests().await;
}

/// case R11: a connection that is still being made when the pool closes is closed as soon as it is there.
#[tokio::test]
async fn a_connection_made_while_the_pool_closes_does_not_stay() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    proxy.set(Fault::HoldReplies).await;
    let pool = watched(
        &db,
        Pool::connect_lazy(url(&db.proxied_url(&proxy)), sized(2)),
    );
    let dialling = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.get().await.map(drop) })
    };
    wait_until("it dials", SOON, async || proxy.connections() == 1).await;
    plumbing::begin_close(&pool);
    let refused = timeout(SOON, dialling).await.unwrap().unwrap();
    assert_eq!(refused.unwrap_err().kind(), Kind::ShuttingDown);
    proxy.set(Fault::None).await;
    wait_until("it has been made and closed", SOON, async || {
        let status = pool.status();
        (status.connects.opened, status.closed.by_resize, status.open) == (1, 1, 0)
    })
    .await;
    nothing_is_left(&db).await;
    pool.rests().await;
}

/// case R11: after the grace a statement is cancelled that has not come further than Parse.
#[tokio::test]
async fn a_shutdown_cancels_a_statement_that_waits_to_be_parsed() {
    let db = table().await;
    let database = watched(&db, database(&db.url(), &[]).await);
    let locker = db.admin().await.unwrap();
    locker
        .batch_execute("begin; lock table t in access exclusive mode")
        .await
        .unwrap();
    let waiting = {
        let database = database.clone();
        tokio::spawn(async move {
            database
                .write(async |conn| {
                    diesel::sql_query("update t set n = 1 where id = 1")
                        .execute(conn)
                        .await
                })
                .await
        })
    };
    wait_until("it waits for the lock", SOON, async || {
        db.scalar(
            "select exists (select from pg_locks where relation = 't'::regclass and not granted)",
        )
        .await
        .unwrap()
    })
    .await;
    let closed = database.shutdown(Duration::from_millis(50)).await;
    assert_eq!(closed.abandoned, 1);
    let outcome = timeout(Duration::from_secs(2), waiting).await.unwrap();
    outcome.unwrap().unwrap_err();
    nothing_is_left(&db).await;
    database.rests().await;
}
