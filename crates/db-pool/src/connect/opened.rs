//! A session that is open, and that nobody uses yet.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;

use db_config::{Endpoint, TargetSessionAttrs};
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{self, BoxStream};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Connection, SimpleQueryMessage, Socket};

use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::connect::connector::{Connector, Transport};
use db_wire::Wire;

/// A session that is open, and that nobody uses yet.
pub(crate) enum Opened {
    /// Over TCP, with the addresses that were tried; one of them has answered.
    Tcp(Client, Connection<Socket, Wire<Transport>>, Vec<SocketAddr>),
    Unix(Client, Connection<Wire<Transport>, NoTlsStream>, PathBuf),
}

impl Opened {
    /// Whether the wire is under it, as the connector's stream or placed there by the pool itself.
    pub(crate) fn has_wire(&self, connector: &Connector) -> bool {
        matches!(self, Self::Unix(..)) || connector.is_in_place()
    }

    pub(crate) fn cancel_token(&self) -> CancelToken {
        match self {
            Self::Tcp(client, ..) | Self::Unix(client, _, _) => client.cancel_token(),
        }
    }

    /// The client, and the driver, which the caller must poll meanwhile. Call it before the
    /// connection is handed on.
    pub(crate) fn parts(&mut self) -> (&Client, BoxFuture<'_, Result<(), tokio_postgres::Error>>) {
        match self {
            Self::Tcp(client, connection, _) => (client, Box::pin(connection)),
            Self::Unix(client, connection, _) => (client, Box::pin(connection)),
        }
    }

    /// The addresses that were tried. Empty if it was only a Unix socket.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        match self {
            Self::Tcp(_, _, addresses) => addresses,
            Self::Unix(..) => &[],
        }
    }

    /// The client, and the stream of unsolicited messages. The session works only while somebody
    /// reads that stream.
    pub(crate) fn messages(self) -> (Client, Messages) {
        match self {
            Self::Tcp(client, mut connection, _addresses) => {
                let messages = stream::poll_fn(move |context| connection.poll_message(context));
                (client, Box::pin(messages))
            }
            Self::Unix(client, mut connection, _socket) => {
                let messages = stream::poll_fn(move |context| connection.poll_message(context));
                (client, Box::pin(messages))
            }
        }
    }

    pub(crate) fn socket(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(..) => None,
            Self::Unix(_, _, socket) => Some(socket.clone()),
        }
    }

    /// Whether its server is in recovery, which makes it a standby. Costs one round trip.
    pub(crate) async fn is_standby(&mut self) -> Result<bool, tokio_postgres::Error> {
        let (client, driver) = self.parts();
        let asking = client.simple_query("SELECT pg_catalog.pg_is_in_recovery()");
        let answer = driven(asking, driver).await?;
        Ok(answer.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
            _ => false,
        }))
    }
}

/// The server's unsolicited messages.
pub(crate) type Messages = BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>;

/// Drives a connection until the answer to a question is there.
pub(crate) async fn driven<T>(
    asking: impl Future<Output = Result<T, tokio_postgres::Error>>,
    driver: BoxFuture<'_, Result<(), tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    match select(pin!(asking), driver).await {
        Either::Left((answer, _driver)) => answer,
        Either::Right((Err(ended), _)) => Err(ended),
        Either::Right((Ok(()), asking)) => asking.await,
    }
}

/// Rejects a server in recovery if the URL wants a primary, and the other way round. tokio-postgres
/// itself checks `read-write` and `read-only`.
pub(crate) async fn admit(opened: &mut Opened, endpoint: &Endpoint) -> Result<(), ConnectError> {
    let wants_standby = match endpoint.target_session_attrs {
        TargetSessionAttrs::Primary => false,
        TargetSessionAttrs::Standby => true,
        _ => return Ok(()),
    };
    let address = endpoint.address();
    match opened.is_standby().await {
        Ok(is_standby) if is_standby == wants_standby => Ok(()),
        Ok(_) => Err(
            ConnectError::new(&address, ConnectFailure::Unreachable).explained(format!(
                "it is {}, and target_session_attrs is {}",
                if wants_standby {
                    "no standby"
                } else {
                    "a standby"
                },
                endpoint.target_session_attrs,
            )),
        ),
        Err(error) => Err(ConnectError::from_postgres(&address, &error)),
    }
}
