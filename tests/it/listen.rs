//! What a listener hears on channels of the server, and that it disturbs nobody.

mod ends;
mod gaps;
mod ways;

use app_db::{Database, Error, Gap, Heard, Listener};
use harness::{Backend, TestDatabase};
use tokio::time::timeout;

use crate::SOON;

/// What the listener hears next.
async fn next(listener: &mut Listener) -> Option<Result<Heard, Error>> {
    let heard = timeout(SOON, listener.next()).await;
    heard.unwrap_or_else(|_elapsed| panic!("nothing was heard within {SOON:?}"))
}

/// The gap that the listener announces next.
async fn gap(listener: &mut Listener) -> Gap {
    match next(listener).await {
        Some(Ok(Heard::Gap(gap))) => gap,
        other => panic!("expected a gap, heard {other:?}"),
    }
}

/// Channel and payload of the notification that the listener hears next.
async fn notification(listener: &mut Listener) -> (String, String) {
    match next(listener).await {
        Some(Ok(Heard::Notification(heard))) => (heard.channel, heard.payload),
        other => panic!("expected a notification, heard {other:?}"),
    }
}

/// A listener to `orders` that listens.
async fn listening(database: &Database) -> Listener {
    let mut orders = database.listen(["orders"]);
    assert_eq!(gap(&mut orders).await, Gap::Beginning);
    orders
}

/// Sends a notification and waits until it is heard.
async fn assert_is_heard(db: &TestDatabase, orders: &mut Listener, payload: &str) {
    db.sql(&format!("select pg_notify('orders', '{payload}')"))
        .await
        .unwrap();
    let expected = ("orders".to_owned(), payload.to_owned());
    assert_eq!(notification(orders).await, expected);
}

/// The sessions that listen.
async fn listeners(db: &TestDatabase) -> Vec<Backend> {
    let mut backends = db.backends("app-db").await.unwrap();
    backends.retain(|backend| backend.query.starts_with("LISTEN"));
    backends
}
