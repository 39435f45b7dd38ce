//! Notifications on channels of the server, as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::mpsc;

use crate::error::PoolError;
use crate::registry::Registry;

/// One item of a listener's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// A notification has come.
    Notification(Notification),
    /// The listener may have missed notifications before this point, and misses none after it until the next
    /// gap. Look now for the changes that they would have reported. This comes first, and again after each
    /// interruption.
    Gap(Gap),
}

/// Why the listener may have missed notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gap {
    /// Listening has just begun.
    Beginning,
    /// The connection was lost, or its credentials were replaced, and there is a new one.
    Reconnected,
    /// Nobody read for so long that the listener had to drop notifications.
    Behind,
}

/// A message that a session has sent with NOTIFY or `pg_notify`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification {
    /// The channel.
    pub channel: String,
    /// The text that came with it; empty if there was none.
    pub payload: String,
    /// The process id of the session that has sent it.
    pub process_id: i32,
}

impl From<&tokio_postgres::Notification> for Notification {
    fn from(notification: &tokio_postgres::Notification) -> Self {
        Self {
            channel: notification.channel().to_owned(),
            payload: notification.payload().to_owned(),
            process_id: notification.process_id(),
        }
    }
}

/// A stream of the notifications on some channels. Dropping it ends the listening.
#[must_use = "a listener that nobody reads falls behind"]
pub struct Listener {
    heard: mpsc::Receiver<Result<Heard, PoolError>>,
    registry: Arc<Registry>,
}

impl Listener {
    pub(crate) fn new(
        heard: mpsc::Receiver<Result<Heard, PoolError>>,
        registry: &Arc<Registry>,
    ) -> Self {
        Self {
            heard,
            registry: Arc::clone(registry),
        }
    }
}

impl Stream for Listener {
    type Item = Result<Heard, PoolError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // It may have been created outside any runtime.
        self.registry.begin();
        self.heard.poll_recv(context)
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("unread", &self.heard.len())
            .finish_non_exhaustive()
    }
}
