//! Cancelling: how a statement is stopped on the server.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};

use crate::connect::connector::{Connector, Transport, UnixStream};

/// Asks the server to stop what a connection is doing.
#[derive(Clone)]
pub(crate) struct Canceller {
    pub(crate) token: CancelToken,
    pub(crate) connector: Connector,
    pub(crate) socket: Option<PathBuf>,
}

impl Canceller {
    /// Sends a CancelRequest over a connection of its own, and waits until the server has hung up there;
    /// gives up after two seconds.
    ///
    /// As libpq does: PgBouncer ends itself ("bad client state", its issue 801, seen with 1.18) when the
    /// socket of a cancel request is closed while the request is being handed on.
    pub(crate) async fn cancel(&self) {
        let connector = self.connector.lingering();
        let cancelling = async {
            match &self.socket {
                None => self.token.cancel_query(connector.clone()).await?,
                Some(socket) => {
                    let Ok(stream) = UnixStream::connect(socket).await else {
                        return Ok(());
                    };
                    let wire = connector.observe(Transport::Unix(stream));
                    self.token.cancel_query_raw(wire, NoTls).await?;
                }
            }
            if let Some(mut link) = connector.take_link()
                && let Some(mut transport) = link.hand_back.transport().await
            {
                let mut rest = [0; 16];
                while matches!(transport.read(&mut rest).await, Ok(count) if count > 0) {}
            }
            Ok::<_, tokio_postgres::Error>(())
        };
        match timeout(CANCEL_TIMEOUT, cancelling).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(target: "app_db::pool", %error, "a cancel request was not delivered");
            }
            Err(_elapsed) => {
                tracing::debug!(target: "app_db::pool", "a cancel request took too long");
            }
        }
    }
}

/// A server that does not take a cancel request within this is not going to act on it either.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
