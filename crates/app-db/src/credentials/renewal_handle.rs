//! The way to the renewal, for the handle of the database.

use std::sync::Arc;

use db_pool::{PoolError, Rotation};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;

/// What [`Database::refresh`](crate::Database::refresh) has come to.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "either there is something new or there is not"
)]
pub enum Refresh {
    /// What is in place is still what is known.
    Unchanged,
    /// Other credentials are in place.
    Rotated(Rotation),
}

/// Somebody waits for the outcome of a renewal.
pub(crate) type Request = oneshot::Sender<Result<Refresh, Error>>;

/// The owner of the renewal: the task ends when this is dropped.
#[derive(Debug)]
pub(crate) struct RenewalHandle {
    requests: mpsc::Sender<Request>,
    closing: watch::Sender<bool>,
    pool: Arc<str>,
}

/// What the renewal hears of its owner.
pub(crate) struct Requests {
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Becomes true, or ends, when the renewal is to end.
    pub(crate) closing: watch::Receiver<bool>,
}

impl RenewalHandle {
    /// The handle of a renewal of this pool's credentials, and what the renewal hears.
    pub(crate) fn new(pool: &str) -> (Self, Requests) {
        let (sender, requests) = mpsc::channel(1);
        let (closer, closing) = watch::channel(false);
        let handle = Self {
            requests: sender,
            closing: closer,
            pool: pool.into(),
        };
        (handle, Requests { requests, closing })
    }

    /// Asks for a renewal, and waits for its outcome.
    pub(crate) async fn refresh(&self) -> Result<Refresh, Error> {
        let closed = || {
            let pool = Arc::clone(&self.pool);
            Error::Pool(PoolError::Closed { pool })
        };
        let (request, outcome) = oneshot::channel();
        let sent = self.requests.send(request).await;
        sent.map_err(|_ended| closed())?;
        outcome.await.unwrap_or_else(|_ended| Err(closed()))
    }

    /// Ends the task.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }
}
