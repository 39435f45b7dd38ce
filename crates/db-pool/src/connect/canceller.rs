//! Cancels a statement on the server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};

use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::connect::connector::{Connector, Transport, UnixStream};

/// Asks the server to cancel the statement of a connection.
#[derive(Clone)]
pub(crate) struct Canceller {
    pub(crate) token: CancelToken,
    pub(crate) connector: Connector,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) address: Arc<str>,
}

impl Canceller {
    /// Sends a CancelRequest, and ignores a failure to deliver it.
    pub(crate) async fn cancel(&self) {
        if let Err(error) = self.request().await {
            tracing::debug!(target: "app_db::pool", %error, "a cancel request was not delivered");
        }
    }

    /// Sends a CancelRequest over a separate connection, and waits until the server has hung up, for at
    /// most two seconds.
    ///
    /// It waits as libpq does: PgBouncer terminates ("bad client state", its issue 801, seen with 1.18)
    /// if the socket of a cancel request is closed while it forwards the request.
    pub(crate) async fn request(&self) -> Result<(), ConnectError> {
        match timeout(CANCEL_TIMEOUT, self.deliver()).await {
            Ok(delivered) => delivered,
            Err(_elapsed) => Err(ConnectError::new(&self.address, ConnectFailure::TimedOut)
                .explained("a cancel request took too long")),
        }
    }

    async fn deliver(&self) -> Result<(), ConnectError> {
        let connector = self.connector.lingering();
        let sent = match &self.socket {
            None => self.token.cancel_query(connector.clone()).await,
            Some(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| {
                    ConnectError::new(&self.address, ConnectFailure::Unreachable)
                        .explained(error.to_string())
                })?;
                let wire = connector.observe(Transport::Unix(stream));
                self.token.cancel_query_raw(wire, NoTls).await
            }
        };
        sent.map_err(|error| ConnectError::from_postgres(&self.address, &error))?;
        if let Some(mut link) = connector.take_link()
            && let Some(mut transport) = link.hand_back.transport().await
        {
            let mut rest = [0; 16];
            while matches!(transport.read(&mut rest).await, Ok(count) if count > 0) {}
        }
        Ok(())
    }
}

/// A server that does not accept a cancel request within this time will not act on it either.
pub(crate) const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
