//! Cancelling: how a statement is stopped on the server.

use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};

use crate::connector::Connector;

/// Asks the server to stop what a connection is doing.
#[derive(Clone)]
pub(crate) struct Canceller {
    pub(crate) token: CancelToken,
    pub(crate) connector: Connector,
    pub(crate) socket: Option<PathBuf>,
}

impl Canceller {
    /// Sends a CancelRequest over a connection of its own; gives up after two seconds.
    pub(crate) async fn cancel(&self) {
        let cancelling = async {
            match &self.socket {
                None => self.token.cancel_query(self.connector.afresh()).await,
                Some(socket) => match UnixStream::connect(socket).await {
                    Ok(stream) => self.token.cancel_query_raw(stream, NoTls).await,
                    Err(_unreachable) => Ok(()),
                },
            }
        };
        match timeout(CANCEL_TIMEOUT, cancelling).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a cancel request was not delivered"),
            Err(_elapsed) => tracing::debug!("a cancel request took too long"),
        }
    }
}

/// A server that does not take a cancel request within this is not going to act on it either.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
