//! Notifications and COPY, which are more than one request and its answer.

use db_pool::plumbing;
use std::sync::Arc;

use app_db::Pool;
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::StreamExt;
use harness::TestDatabase;
use tokio::time::timeout;

use super::{bump, one, prepared, sum};
use crate::SOON;
use crate::pool::url;

/// LISTEN works on a connection of a direct pool, beside the wire's own answers.
#[tokio::test]
async fn notifications_arrive_on_a_direct_pool() {
    let (db, pool) = prepared(one()).await;
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("listen news").await.unwrap();
    db.sql("select pg_notify('news', g::text) from generate_series(1, 3) g")
        .await
        .unwrap();
    for _ in 0..2 {
        bump(&mut conn, 1).await.unwrap();
    }
    assert_eq!(sum(&mut conn).await, Ok(2));
    let mut news = std::pin::pin!(conn.notifications_stream());
    for number in 1..=3 {
        let one = timeout(SOON, news.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(
            (one.channel.as_str(), one.payload),
            ("news", number.to_string())
        );
    }
}

/// A notification that a transaction of the connection's own sends, and its own COMMIT, which is waited
/// for although the transaction is read only.
#[tokio::test]
async fn a_notification_of_ones_own_is_sent_at_commit() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = Pool::connect(url(&db.url()), one()).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("listen news").await.unwrap();
    conn.batch_execute("begin read only").await.unwrap();
    conn.batch_execute("notify news, 'mine'").await.unwrap();
    conn.batch_execute("commit").await.unwrap();
    let mut news = std::pin::pin!(conn.notifications_stream());
    let one = timeout(SOON, news.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(one.payload, "mine");
}

/// The bytes on the socket are counted: not the wire's own answers, but the bytes that it adds.
#[tokio::test]
async fn bytes_are_counted_as_they_really_pass() {
    let (_db, pool) = prepared(one()).await;
    let mut conn = pool.get().await.unwrap();
    let observed = Arc::clone(plumbing::observed(&conn));
    let count = || (observed.bytes_sent(), observed.bytes_received());
    let (after_login_sent, after_login_received) = count();
    // The startup packet with our settings; the greeting with its parameters.
    assert!(after_login_sent > 100 && after_login_received > 300);

    let twice = "select repeat($1, 2) as text";
    for _ in 0..2 {
        let (sent, received) = count();
        let text = "x".repeat(50_000);
        // Waits for the end of the answer; `get_result` returns with its first row.
        let rows: Vec<Twice> = diesel::sql_query(twice)
            .bind::<Text, _>(&text)
            .load(&mut conn)
            .await
            .unwrap();
        assert_eq!(rows[0].text.len(), 100_000);
        let (sent, received) = (
            observed.bytes_sent() - sent,
            observed.bytes_received() - received,
        );
        assert!((50_000..50_300).contains(&sent), "{sent}");
        assert!((100_000..100_300).contains(&received), "{received}");
    }

    // BEGIN waits for a statement to travel with, so that without one nothing passes at all.
    let before = count();
    conn.batch_execute("begin").await.unwrap();
    conn.batch_execute("rollback").await.unwrap();
    assert_eq!(count(), before);
}

#[derive(diesel::QueryableByName)]
struct Twice {
    #[diesel(sql_type = Text)]
    text: String,
}
