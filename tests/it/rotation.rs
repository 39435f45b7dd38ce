//! Credentials are replaced while work goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use app_db::{Credentials, Database, Kind, Pool};
use diesel::QueryResult;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::{TestDatabase, wait_until};
use tokio_util::sync::CancellationToken;

use crate::SOON;
use crate::pool::{sized, url};
use crate::transaction::database;

async fn user(conn: &mut AsyncPgConnection) -> QueryResult<String> {
    diesel::dsl::sql::<Text>("select session_user::text")
        .get_result(conn)
        .await
}

/// Case R40; req 4.45, 4.46: idle connections go at once, held ones when they come back.
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
    assert_eq!((pool.status().retiring, pool.status().retired), (0, 2));
    assert_eq!(db.backends("app-db").await.unwrap().len(), 1);
}

/// Case R41; req 4.44: the user may change its name, and the old one can be locked out afterwards.
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
    assert_eq!(database.status()[0].opened, 1);
}

/// Case R40: under load no work fails, while the password changes several times.
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
    assert_eq!((status.discarded, status.timeouts), (0, 0), "{status:?}");
    assert!(status.retired >= 5, "{status:?}");
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
        pool.status().connect_failures > 0
    })
    .await;
    drop(held);
    tokio::time::timeout(Duration::from_secs(1), waiting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
