//! Ends: shutdown, rotation, drop; and that nobody waits for a listener.

use std::time::{Duration, Instant};

use app_db::Credentials;
use harness::wait_until;

use super::*;
use crate::at_rest::watched;
use crate::transaction::database;

/// A rotation does not wait for the owner of the stream until the old credentials are out of use, even if nobody
/// reads the stream.
#[tokio::test]
async fn a_rotation_replaces_a_listener_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let mut orders = listening(&database).await;
    let before = listeners(&db).await;
    assert_eq!(before[0].user, db.role().name());

    let credentials = Credentials::new(second.name(), second.password());
    let rotation = database.rotate(credentials).await.unwrap();
    timeout(SOON, rotation.drained()).await.unwrap();
    wait_until("a new one listens", SOON, async || {
        listeners(&db).await.len() == 1
    })
    .await;
    let after = listeners(&db).await;
    assert_eq!(after[0].user, second.name());
    assert_ne!(after[0].pid, before[0].pid);

    assert_eq!(gap(&mut orders).await, Gap::Reconnected);
    assert_is_heard(&db, &mut orders, "by the second user").await;
}

/// Neither the grace of a shutdown nor its report knows the listener as a holder.
#[tokio::test]
async fn a_listener_ends_with_shutdown() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let mut orders = listening(&database).await;
    let began = Instant::now();
    let (closed, last) = tokio::join!(database.shutdown(SOON), next(&mut orders));
    assert!(last.is_none(), "{last:?}");
    assert_eq!(closed.abandoned, 0);
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    assert!(db.backends("app-db").await.unwrap().is_empty());
    // A listener that comes too late hears nothing.
    assert!(next(&mut database.listen(["orders"])).await.is_none());
}

#[tokio::test]
async fn a_listener_ends_with_the_last_handle() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let mut orders = listening(&database).await;
    drop(database);
    assert!(next(&mut orders).await.is_none());
    wait_until("no session is left", SOON, async || {
        db.backends("app-db").await.unwrap().is_empty()
    })
    .await;
}

/// No pool counts it, no report names it, and its drop ends its session.
#[tokio::test]
async fn a_listener_is_no_holder_and_no_leak() {
    let db = TestDatabase::empty().await.unwrap();
    let more = [
        ("APP_DB__PROFILE__MAX", "1"),
        ("APP_DB__PROFILE__LEAK_THRESHOLD", "50ms"),
    ];
    let database = watched(&db, database(&db.url(), &more).await).with_sessions(4);
    let mut orders = listening(&database).await;
    // The pool of one is free while somebody listens.
    let held = database.get().await.unwrap();
    wait_until("the hold is reported", SOON, async || {
        database.status()[0].long_holds == 1
    })
    .await;
    drop(held);
    assert_is_heard(&db, &mut orders, "meanwhile").await;
    let status = database.status();
    assert_eq!(status.len(), 1, "{status:?}");
    assert_eq!((status[0].long_holds, status[0].in_use), (1, 0));
    let began = Instant::now();
    let health = database.health().await;
    assert!(health.is_ready() && health.others.is_empty(), "{health:?}");
    assert!(began.elapsed() < Duration::from_millis(250));

    drop(orders);
    wait_until("its session is gone", SOON, async || {
        listeners(&db).await.is_empty()
    })
    .await;
    database.rests().await;
}
