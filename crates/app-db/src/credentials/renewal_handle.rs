//! How the handle of the database reaches the renewal.

use std::sync::Arc;

use db_pool::{PoolError, Rotation};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;

/// The outcome of [`Database::refresh`](crate::Database::refresh).
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "either there is something new or there is not"
)]
pub enum Refresh {
    /// The source had nothing new; the pools keep their credentials.
    Unchanged,
    /// The pools use other credentials now.
    Rotated(Rotation),
}

/// A request for a renewal, whose sender waits for the outcome.
pub(crate) type Request = oneshot::Sender<Result<Refresh, Error>>;

/// Owns the renewal: dropping this ends the task.
#[derive(Debug)]
pub(crate) struct RenewalHandle {
    requests: mpsc::Sender<Request>,
    closing: watch::Sender<bool>,
    pool: Arc<str>,
}

/// What the renewal receives from its owner.
pub(crate) struct Requests {
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Becomes true, or loses its sender, when the renewal has to end.
    pub(crate) closing: watch::Receiver<bool>,
}

impl RenewalHandle {
    /// The handle for the renewal of this pool's credentials, and the receiving side for the renewal.
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
