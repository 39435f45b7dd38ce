//! Every new order as a server-sent event, from one listener for all clients.

use std::convert::Infallible;

use app_db::{Database, Heard, Notification};
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use tokio::sync::{broadcast, watch};

use crate::error::OrdersError;
use crate::orders::{Order, find};

/// What clients get.
#[derive(Clone, Debug)]
enum News {
    Placed(Order),
    /// Some orders may have been missed; `GET /orders` has them.
    Missed,
}

/// Where clients subscribe.
#[derive(Clone)]
pub(crate) struct Feed(broadcast::WeakSender<News>);

impl Feed {
    /// Starts the task that listens; it ends when the service stops or the database shuts down.
    pub(crate) fn follow(db: Database, mut stopping: watch::Receiver<bool>) -> Self {
        let (news, _nobody_yet) = broadcast::channel(MOST_UNREAD);
        let feed = Self(news.downgrade());
        tokio::spawn(async move {
            tokio::select! {
                () = listen(&db, &news) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
        feed
    }
}

async fn listen(db: &Database, news: &broadcast::Sender<News>) {
    let mut orders = db.listen(["orders"]);
    while let Some(heard) = orders.next().await {
        let told = match heard {
            Ok(Heard::Notification(notification)) => placed(db, &notification).await,
            // Earlier orders may have been missed.
            Ok(_) => Ok(Some(News::Missed)),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "nothing is heard of orders"
                );
                continue;
            }
        };
        let told = told.unwrap_or_else(|error| {
            tracing::warn!(%error, "an order was not found");
            Some(News::Missed)
        });
        if let Some(told) = told {
            let _nobody_listens = news.send(told);
        }
    }
}

/// The order whose number came with a notification, unless it is gone already.
async fn placed(db: &Database, notification: &Notification) -> Result<Option<News>, OrdersError> {
    let Ok(id) = notification.payload.parse() else {
        return Ok(None);
    };
    // On the primary: a replica may not have it yet.
    let order = db
        .transaction()
        .read_only()
        .run(async |conn| find(conn, id).await)
        .await?;
    Ok(order.map(News::Placed))
}

pub(crate) async fn follow(
    State(feed): State<Feed>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let subscribed = feed.0.upgrade().map(|news| news.subscribe());
    let events = stream::unfold(subscribed, async |subscribed| {
        let mut subscribed = subscribed?;
        let event = match subscribed.recv().await {
            Ok(News::Placed(order)) => {
                let event = Event::default().event("placed").id(order.id.to_string());
                event.json_data(&order).ok()?
            }
            // A client that was too slow has missed some, too.
            Ok(News::Missed) | Err(broadcast::error::RecvError::Lagged(_)) => {
                Event::default().event("missed").data("")
            }
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        Some((Ok(event), Some(subscribed)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// How many orders a client may be behind.
const MOST_UNREAD: usize = 1_024;
