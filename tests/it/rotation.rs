//! Credentials are replaced while work goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use app_db::{Credentials, Database, Kind, Pool};
use diesel::QueryResult;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::{Fault, Proxy, TestDatabase, wait_until};
use tokio_util::sync::CancellationToken;

use crate::SOON;
use crate::pool::{sized, url};
use crate::transaction::database;

async fn user(conn: &mut AsyncPgConnection) -> QueryResult<String> {
    diesel::dsl::sql::<Text>("select session_user::text")
        .get_result(conn)
        .await
}

/// case R40; req 4.45, req 4.46: idle connections go at once, held ones when they come back.
#[tokio::test]
async fn rotation_closes_a_held_connection_when_it_returns() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), sized(3)).await.unwrap();
    let mut held = pool.get().await.unwrap();
    drop(pool.get().await.unwrap());
    assert_eq!((held.generation(), pool.status().open), (1, 2));

    db.set_password("second1").await.unwrap();
    let rotation = pool
        .rotate(Credentials::new(db.role().name(), "second1"))
        .await
        .unwrap();
    assert_eq!(rotation.generation(), 2);
    wait_until("the idle one is gone", SOON, async || {
        db.backends("app-db").await.unwrap().len() == 1
    })
    .await;
    assert!(futures_util::poll!(std::pin::pin!(rotation.drained())).is_pending());

    // Work in flight goes on, new work gets a new connection.
    user(&mut held).await.unwrap();
    let fresh = pool.get().await.unwrap();
    assert_eq!(fresh.generation(), 2);
    assert_eq!((pool.status().generation, pool.status().retiring), (2, 1));
    drop(held);
    tokio::time::timeout(SOON, rotation.drained())
        .await
        .unwrap();
    assert_eq!(
        (pool.status().retiring, pool.status().closed.by_rotation),
        (0, 2)
    );
    assert_eq!(db.backends("app-db").await.unwrap().len(), 1);
}

/// case R41; req 4.44: the user may change its name, and the old one can be locked out afterwards.
#[tokio::test]
async fn a_second_user_takes_over() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    let database = database(&db.url(), &[("APP_DB__POOLS__BATCH__MAX", "2")]).await;
    assert_eq!(database.read(user).await.unwrap(), db.role().name());
    let credentials = Credentials::new(second.name(), second.password());
    database.rotate(credentials).await.unwrap().drained().await;
    let role = db.role().name();
    db.server()
        .sql(&format!("ALTER ROLE {role} NOLOGIN"))
        .await
        .unwrap();
    assert_eq!(database.read(user).await.unwrap(), second.name());
    // A pool that was not open yet takes the new user too.
    let mut batch = database.pool("batch").unwrap().get().await.unwrap();
    assert_eq!(user(&mut batch).await.unwrap(), second.name());
}

/// req 4.46: credentials that do not work change nothing.
#[tokio::test]
async fn wrong_credentials_are_refused_and_nothing_changes() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let error = database
        .rotate(Credentials::new(db.role().name(), "wrongcanary"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
    assert_eq!(error.sqlstate().unwrap().code(), "28P01");
    assert!(!format!("{error:?}").contains("wrongcanary"));
    assert_eq!(database.status()[0].generation, 1);
    assert_eq!(database.read(user).await.unwrap(), db.role().name());
    assert_eq!(database.status()[0].connects.opened, 1);
}

/// case R40: under load no work fails, while the password changes several times.
#[tokio::test]
async fn no_work_fails_while_the_password_changes() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[("APP_DB__PROFILE__MAX", "5")]).await;
    let (stop, done) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..10)
        .map(|_| {
            let (database, stop, done): (Database, _, _) =
                (database.clone(), stop.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    database.write(user).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 2..5_u64 {
        let count = || AtomicU64::load(&done, Ordering::Relaxed);
        let before = count();
        let password = format!("password{n}");
        db.set_password(&password).await.unwrap();
        let rotation = database
            .rotate(Credentials::new(db.role().name(), password))
            .await
            .unwrap();
        assert_eq!(rotation.generation(), n);
        tokio::time::timeout(SOON, rotation.drained())
            .await
            .unwrap();
        wait_until("more work is done", SOON, async || count() > before + 50).await;
    }
    stop.cancel();
    for task in load {
        task.await.unwrap();
    }
    let status = &database.status()[0];
    assert_eq!(
        (status.closed.discarded, status.checkouts.timed_out),
        (0, 0),
        "{status:?}"
    );
    assert!(status.closed.by_rotation >= 5, "{status:?}");
}

/// A password that the server has forgotten already does not fail callers while connections live.
#[tokio::test]
async fn callers_wait_for_a_live_connection_while_the_old_password_fails() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), sized(2)).await.unwrap();
    let held = pool.get().await.unwrap();
    db.set_password("second1").await.unwrap();
    let waiting = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.get().await.map(drop) })
    };
    wait_until("connecting has failed", SOON, async || {
        pool.status().connects.failed > 0
    })
    .await;
    drop(held);
    tokio::time::timeout(Duration::from_secs(1), waiting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

/// case R41; req 4.44: a pool that is not open yet has its user too, and nobody else takes it over.
#[tokio::test]
async fn the_user_of_an_unopened_pool_is_rotated_alone() {
    let db = TestDatabase::empty().await.unwrap();
    let admin = db.add_role().await.unwrap();
    let more = [
        ("APP_DB__POOLS__ADMIN__VIA", "direct"),
        ("DATABASE_URL_DIRECT", &db.url_as(&admin)),
    ];
    let database = database(&db.url(), &more).await;
    admin.set_password(db.server(), "second1").await.unwrap();
    let credentials = Credentials::new(admin.name(), "second1");
    database.rotate(credentials).await.unwrap().drained().await;
    assert_eq!(database.read(user).await.unwrap(), db.role().name());
    assert_eq!(database.status()[0].generation, 1);
    let mut conn = database.pool("admin").unwrap().get().await.unwrap();
    assert_eq!(user(&mut conn).await.unwrap(), admin.name());
}

/// case R41: a pool that is opened while the new credentials are being proved takes them as well.
#[tokio::test]
async fn a_pool_opened_during_a_rotation_is_rotated() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    let database = database(&db.url(), &[("APP_DB__POOLS__BATCH__MAX", "2")]).await;
    let credentials = Credentials::new(second.name(), second.password());
    let mut rotating = Box::pin(database.rotate(credentials));
    assert!(futures_util::poll!(&mut rotating).is_pending());
    let batch = database.pool("batch").unwrap();
    assert_eq!(batch.user(), db.role().name());
    rotating.await.unwrap().drained().await;
    let mut conn = batch.get().await.unwrap();
    assert_eq!(user(&mut conn).await.unwrap(), second.name());
}

/// case R40: a login with the old password that is on its way fails nobody when the new one is there.
#[tokio::test]
async fn a_caller_who_dials_with_the_old_password_gets_the_new_one() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let pool = Pool::connect_lazy(url(&db.proxied_url(&proxy)), sized(4));
    db.set_password("second1").await.unwrap();
    proxy.set(Fault::HoldReplies).await;
    let dialling: Vec<_> = (0..3)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.get().await.map(|conn| conn.generation()) })
        })
        .collect();
    wait_until("all dial", SOON, async || proxy.connections() == 3).await;
    let rotating = {
        let (pool, name) = (pool.clone(), db.role().name().to_owned());
        tokio::spawn(async move {
            pool.rotate(Credentials::new(name, "second1"))
                .await
                .map(drop)
        })
    };
    wait_until("it is proved", SOON, async || proxy.connections() == 4).await;
    proxy.set(Fault::None).await;
    rotating.await.unwrap().unwrap();
    for caller in dialling {
        let generation = tokio::time::timeout(Duration::from_secs(3), caller)
            .await
            .unwrap();
        assert_eq!(generation.unwrap().unwrap(), 2);
    }
}

/// case R40: a caller that waits for the delay after a refusal of the old password need not wait for its end.
#[tokio::test]
async fn a_rotation_wakes_those_who_wait_to_connect_again() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(6);
    profile.checkout_timeout = Duration::from_secs(60);
    profile.reconnect.base_delay = Duration::from_secs(60);
    profile.reconnect.max_delay = Duration::from_secs(60);
    let pool = Pool::connect(url(&db.url()), profile).await.unwrap();
    let _held = pool.get().await.unwrap();
    db.set_password("second1").await.unwrap();
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.get().await.unwrap() })
        })
        .collect();
    wait_until("the old password is refused", SOON, async || {
        pool.status().connects.failed > 0
    })
    .await;
    let credentials = Credentials::new(db.role().name(), "second1");
    let rotation = pool.rotate(credentials).await.unwrap();
    // Each caller keeps its connection, so no caller gets one that another has returned.
    let served = futures_util::future::join_all(waiting);
    let served = tokio::time::timeout(Duration::from_secs(3), served)
        .await
        .unwrap();
    for conn in served {
        assert_eq!(conn.unwrap().generation(), rotation.generation());
    }
}

/// A long holder is told when it should give its connection back, and nobody else is told.
#[tokio::test]
async fn a_holder_hears_of_a_rotation_and_of_the_end_of_its_pool() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), sized(3)).await.unwrap();
    let mut held = pool.get().await.unwrap();
    let mut retired = std::pin::pin!(held.retired());
    assert!(futures_util::poll!(&mut retired).is_pending());
    db.set_password("second1").await.unwrap();
    let credentials = Credentials::new(db.role().name(), "second1");
    let rotation = pool.rotate(credentials).await.unwrap();
    tokio::time::timeout(SOON, retired).await.unwrap();
    // The connection still works, and repeats that it should be given back.
    user(&mut held).await.unwrap();
    tokio::time::timeout(SOON, held.retired()).await.unwrap();

    let fresh = pool.get().await.unwrap();
    let mut retired = std::pin::pin!(fresh.retired());
    assert!(futures_util::poll!(&mut retired).is_pending());
    drop(held);
    tokio::time::timeout(SOON, rotation.drained())
        .await
        .unwrap();
    assert!(futures_util::poll!(&mut retired).is_pending());
    let returning = async {
        retired.await;
        drop(fresh);
    };
    let (closed, ()) = tokio::join!(pool.close(SOON), returning);
    assert_eq!(closed.abandoned, 0);
}
