//! The end of a backend: the pool ends its session, and only then is its place free.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::backend::live_backend::LiveBackend;
use crate::backend::reservation::Reservation;
use crate::connect::connector::HandBack;
use crate::registry::Registry;
use crate::registry::Unanswered;

/// Ends one session in its own task. The place is free when the server has closed the session.
pub(crate) struct Closing {
    pub(crate) conn: Option<AsyncPgConnection>,
    pub(crate) hand_back: Option<HandBack>,
    pub(crate) patience: Duration,
    pub(crate) live: Arc<LiveBackend>,
    pub(crate) reservation: Option<Reservation>,
    /// Never read: while it is held, the backend counts as unanswered.
    pub(crate) _ping: Option<Unanswered>,
    pub(crate) registry: Arc<Registry>,
}

impl Closing {
    pub(crate) async fn run(mut self) {
        let (conn, hand_back) = (self.conn.take(), self.hand_back.take());
        let ending = async {
            self.live.cancel().await;
            // This ends the driver, whose stream then hands back the transport.
            drop(conn);
            if let Some(hand_back) = hand_back {
                await_end(hand_back).await;
            }
        };
        let _in_time = timeout(self.patience, ending).await;
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        // In this order, so that a woken caller finds the place free.
        self.registry.being_closed.fetch_sub(1, Ordering::AcqRel);
        self.registry.established.fetch_sub(1, Ordering::AcqRel);
        drop(self.reservation.take());
        self.registry.changes.tell();
    }
}

/// Says goodbye and reads until the server has hung up.
pub(crate) async fn await_end(mut hand_back: HandBack) {
    let Some(mut transport) = hand_back.transport().await else {
        return;
    };
    // This is Terminate, which does no harm if the server is already gone.
    let _sent = transport.write_all(b"X\0\0\0\x04").await;
    let _flushed = transport.shutdown().await;
    let mut rest = [0; 1024];
    while matches!(transport.read(&mut rest).await, Ok(count) if count > 0) {}
}

/// How long a discarded backend may keep its reservation.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
