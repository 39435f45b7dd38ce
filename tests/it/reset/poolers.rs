//! Resets behind a pooler.

use app_db::Pool;
use db_pool::plumbing;
use db_pool::{PoolerMode, Reset};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Bouncer, BouncerOptions, PoolMode};

use super::{UNDOABLE, assert_clean, cached, database, profile, setting, with_reset};
use crate::at_rest::open_at;
use crate::pool::url;

/// case R30: behind a pooler in session mode the pool sends its settings again after each reset.
#[tokio::test]
async fn our_settings_hold_after_a_reset_behind_a_session_pooler() {
    let db = database().await;
    let bouncer = Bouncer::start(db.server(), BouncerOptions::mode(PoolMode::Session))
        .await
        .unwrap();
    let mut profile = profile();
    profile.pooler = PoolerMode::Session;
    let pool = open_at(&db, &db.pooled_url(&bouncer), profile).await;
    for dirty in UNDOABLE {
        let mut conn = pool.get().await.unwrap();
        conn.batch_execute(dirty).await.unwrap();
        drop(conn);
        let mut conn = pool.get().await.unwrap();
        assert_clean(&mut conn, db.role().name(), dirty).await;
        assert_eq!(cached(&mut conn, 8).await, 8);
    }
    let status = pool.status();
    assert_eq!(
        (status.resets, status.connects.opened),
        (UNDOABLE.len() as u64, 1),
        "{status:?}"
    );
    pool.rests().await;
}

/// case R32: a shared session cannot be reset, so the pool refuses a SET there, and the next statement
/// works. `reset = "never"` lets the SET through.
#[tokio::test]
async fn a_set_through_a_transaction_pooler_is_refused() {
    let db = database().await;
    let options = BouncerOptions::mode(PoolMode::Transaction).pool_size(1);
    let bouncer = Bouncer::start(db.server(), options).await.unwrap();
    let pooled = db.pooled_url(&bouncer);
    let pool = Pool::connect(url(&pooled), with_reset(Reset::Always))
        .await
        .unwrap();
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("set role pg_monitor").await.unwrap_err();
    let prepared = diesel::sql_query("set session statement_timeout = 1");
    let error = prepared.execute(&mut conn).await.unwrap_err();
    assert!(error.to_string().contains("SET LOCAL"), "{error}");
    let sent = plumbing::observed(&conn).last_error().unwrap();
    assert_eq!(sent.sqlstate().code(), "0A000");
    conn.transaction(async |conn| {
        conn.batch_execute("set local role pg_monitor").await?;
        assert_eq!(setting(conn, "role").await, "pg_monitor");
        diesel::QueryResult::Ok(())
    })
    .await
    .unwrap();
    assert_eq!(setting(&mut conn, "role").await, "none");
    drop(conn);
    assert_eq!(
        (pool.status().resets, pool.status().closed.discarded),
        (0, 0)
    );

    let pool = Pool::connect(url(&pooled), with_reset(Reset::Never))
        .await
        .unwrap();
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("set lock_timeout = '3s'").await.unwrap();
}
