//! A detached connection belongs only to its holder.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use app_db::{Credentials, Pool};
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Cluster, ClusterOptions, TestDatabase, wait_until};
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::{open, open_at};
use crate::pool::{sized, url};

async fn process(conn: &mut AsyncPgConnection) -> i32 {
    diesel::dsl::sql::<Integer>("select pg_backend_pid()")
        .get_result(conn)
        .await
        .unwrap()
}

/// Its place is free at once, also for callers that already wait, and its session stays the same.
#[tokio::test]
async fn a_detached_connection_leaves_its_place_to_others() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = open(&db, sized(1)).await.with_sessions(2);
    let mut held = pool.get().await.unwrap();
    held.batch_execute("set application_name = 'taken'")
        .await
        .unwrap();
    let before = process(&mut held).await;
    let waiting = {
        let pool = Pool::clone(&pool);
        tokio::spawn(async move { pool.get().await.map(drop) })
    };
    wait_until("somebody waits", SOON, async || pool.status().waiting == 1).await;
    let mut detached = held.detach();
    timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
    let status = pool.status();
    assert_eq!((status.in_use, status.open, status.detached), (0, 1, 1));
    assert_eq!(process(&mut detached).await, before);
    let named = db.backends("taken").await.unwrap();
    assert_eq!(named[0].pid, before);
    drop(detached);
    wait_until("its session is gone", SOON, async || {
        db.backends("taken").await.unwrap().is_empty()
    })
    .await;
    pool.rests().await;
}

/// Neither a rotation nor a closing pool waits for it.
#[tokio::test]
async fn nobody_waits_for_a_detached_connection() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), sized(2)).await.unwrap();
    let mut detached = pool.get().await.unwrap().detach();
    detached.batch_execute("begin").await.unwrap();
    db.set_password("second1").await.unwrap();
    let credentials = Credentials::new(db.role().name(), "second1");
    let rotation = pool.rotate(credentials).await.unwrap();
    timeout(SOON, rotation.drained()).await.unwrap();
    let began = Instant::now();
    assert_eq!(pool.close(SOON).await.abandoned, 0);
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    drop(pool);
    process(&mut detached).await;
}

/// Over a Unix socket the pool drives its connections itself, and leaves this one to its client.
#[tokio::test]
async fn a_connection_over_a_unix_socket_works_on() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = folder.path().to_str().unwrap();
    let options = ClusterOptions::default()
        .setting("unix_socket_directories", path)
        .hba("local all all scram-sha-256");
    let cluster = Cluster::start(options).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let way = db.url().replace("127.0.0.1", &path.replace('/', "%2F"));
    let pool = open_at(&db, &way, sized(1)).await.with_sessions(2);
    let mut detached = pool.get().await.unwrap().detach();
    let pid = process(&mut detached).await;
    assert_ne!(process(&mut pool.get().await.unwrap()).await, pid);
    assert_eq!(process(&mut detached).await, pid);
    drop(detached);
    pool.rests().await;
}
