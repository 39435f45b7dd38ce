//! Resets that fail, hang, or come while the pool closes.

use app_db::Pool;
use db_pool::plumbing;
use db_pool::plumbing::Observed;
use diesel_async::SimpleAsyncConnection;
use harness::{Fault, Proxy, wait_until};

use super::{database, profile, setting, text};
use crate::SOON;
use crate::pool::url;

/// A reset that fails costs the connection. Nobody gets it, and a waiting caller gets another one.
#[tokio::test]
async fn a_reset_that_fails_or_hangs_discards_the_connection() {
    let db = database().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let mut profile = profile();
    // Shorter than the bound of a reset, so that the wait for it times out.
    profile.checkout_timeout = SOON;
    let pool = Pool::connect(url(&db.proxied_url(&proxy)), profile)
        .await
        .unwrap();

    // The borrower's own timeout cuts the reset off while it drops its tables.
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("create temp table a (x int)")
        .await
        .unwrap();
    let blocker = db.admin().await.unwrap();
    let schema = text(&mut conn, "select pg_my_temp_schema()::regnamespace::text")
        .await
        .unwrap();
    let lock = format!(
        "begin; lock table {}.a in access share mode",
        schema.unwrap()
    );
    blocker.batch_execute(&lock).await.unwrap();
    conn.batch_execute("set statement_timeout = '50ms'")
        .await
        .unwrap();
    drop(conn);
    let mut conn = pool.get().await.unwrap();
    assert_eq!(setting(&mut conn, "statement_timeout").await, "31s");
    assert_eq!(
        (pool.status().closed.discarded, pool.status().resets),
        (1, 0)
    );
    blocker.batch_execute("rollback").await.unwrap();

    // No answer at all.
    conn.batch_execute("set statement_timeout = 0")
        .await
        .unwrap();
    proxy.set(Fault::HoldReplies).await;
    drop(conn);
    assert_eq!(pool.status().in_use, 0);
    assert_eq!(pool.status().idle, 0, "it is nobody's while it is reset");
    wait_until("the reset is given up", SOON, async || {
        pool.status().closed.discarded == 2
    })
    .await;
    proxy.set(Fault::None).await;
    let mut conn = pool.get().await.unwrap();
    assert_eq!(setting(&mut conn, "statement_timeout").await, "31s");
    assert_eq!(pool.status().resets, 0);
}

/// Closing does not wait for a connection whose reset hangs, and a caller that waits for it gets an
/// error.
#[tokio::test]
async fn a_reset_does_not_hold_up_closing() {
    let db = database().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let pool = Pool::connect(url(&db.proxied_url(&proxy)), profile())
        .await
        .unwrap();
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("set time zone 'UTC'").await.unwrap();
    let observed: std::sync::Arc<Observed> = std::sync::Arc::clone(plumbing::observed(&conn));
    proxy.set(Fault::HoldReplies).await;
    drop(conn);
    wait_until("the reset is under way", SOON, async || {
        observed.is_working()
    })
    .await;
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.get().await.unwrap_err() }
    });
    wait_until("somebody waits", SOON, async || pool.status().waiting == 1).await;
    let closed = pool.close(SOON).await;
    assert_eq!(closed.abandoned, 0);
    assert_eq!(waiting.await.unwrap().kind(), app_db::Kind::ShuttingDown);
    wait_until("the server has closed it", SOON, async || {
        db.backends("app-db").await.unwrap().is_empty()
    })
    .await;
    assert_eq!(pool.status().resets, 0);
}
