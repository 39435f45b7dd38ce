//! A service starts while its server is down, and makes its pools before it has a runtime.

use std::time::{Duration, Instant};

use app_db::{Database, Kind, Pool};
use diesel::QueryResult;
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::{Cluster, ClusterOptions, Stop, TestDatabase, wait_until};
use tokio::runtime::{Builder, Runtime};

use crate::SOON;
use crate::at_rest::watched;
use crate::pool::{sized, url};
use crate::transaction::config;

async fn one(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    diesel::dsl::sql::<Integer>("select 1")
        .get_result(conn)
        .await
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// It is alive and not ready, says why, and is ready when the server is there.
#[tokio::test]
async fn a_service_starts_while_its_server_is_down() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    cluster.stop(Stop::Fast).await.unwrap();
    let more = [
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "300ms"),
        ("APP_DB__PROFILE__MIN_IDLE", "2"),
        ("APP_DB__RECONNECT__BASE_DELAY", "100ms"),
        ("APP_DB__RECONNECT__MAX_DELAY", "200ms"),
    ];
    let began = Instant::now();
    let database = Database::connect_lazy(&config(&db.url(), &more)).unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    let database = watched(&db, database).with_sessions(22);
    let health = database.health().await;
    assert!(!health.is_ready());
    assert_eq!(health.write.error.unwrap().kind(), Kind::Down);
    let error = database.read(async |conn| Ok::<_, app_db::Error>(one(conn).await?));
    assert_eq!(error.await.unwrap_err().kind(), Kind::Down);

    cluster.start_again().await.unwrap();
    wait_until("it is ready", SOON, async || {
        database.health().await.is_ready()
    })
    .await;
    assert_eq!(database.read(one).await, Ok(1));
    // The connections that are kept ready come without a caller.
    wait_until("it is warm", SOON, async || database.status()[0].open >= 2).await;
    database.rests().await;
}

/// A wrong configuration is found without the server.
#[test]
fn a_wrong_configuration_is_refused_at_once() {
    let config = config(
        "postgres://u:p@127.0.0.1:6432/d",
        &[("APP_DB__POOLS__ADMIN__VIA", "direct")],
    );
    let error = Database::connect_lazy(&config).unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
    assert!(error.to_string().contains("DATABASE_URL_DIRECT"), "{error}");
}

/// crates-io makes the pools of its server and of its worker before it enters a runtime.
#[test]
fn a_pool_may_be_made_outside_a_runtime() {
    let (harness, runtime) = (runtime(), runtime());
    let db = harness.block_on(TestDatabase::empty()).unwrap();
    let mut profile = sized(2);
    profile.min_idle = 1;
    let pool = Pool::connect_lazy(url(&db.url()), profile);
    assert_eq!(pool.status().open, 0);
    pool.resize(1).unwrap();
    // The future is made outside of the runtime too.
    let getting = pool.get();
    let mut held = runtime.block_on(getting).unwrap();
    assert_eq!(runtime.block_on(one(&mut held)), Ok(1));
    drop(held);
    // The keeper has begun with it.
    runtime.block_on(async {
        wait_until("one is kept ready", SOON, async || pool.status().idle == 1).await;
        assert_eq!(pool.close(SOON).await.abandoned, 0);
    });
    drop(pool);

    let unused = Pool::connect_lazy(url(&db.url()), sized(2));
    let warmed = Pool::connect_lazy(url(&db.url()), sized(2));
    drop(unused.clone());
    assert!(runtime.block_on(warmed.warm_up(SOON)));
    drop(unused);
    let database = Database::connect_lazy(&config(&db.url(), &[])).unwrap();
    assert_eq!(runtime.block_on(database.read(one)), Ok(1));
    let mut orders = database.listen(["orders"]);
    assert!(runtime.block_on(orders.next()).unwrap().is_ok());
    runtime.block_on(database.shutdown(SOON));
    harness.block_on(async { drop(db) });
}
