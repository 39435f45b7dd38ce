//! Distinguishes the server itself from a pooler that answers for it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use db_config::Host;
use db_pool::{Endpoint, plumbing};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Client;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use crate::migrate::direct_server::DirectServer;
use crate::migrate::error::MigrateError;

/// Refuses a connection if the server process that serves it is not the one that greeted it.
///
/// PgBouncer and similar poolers invent the process number in BackendKeyData, so one comparison decides.
/// Pgpool-II passes the server's number on, but answers its own command. Neon's proxy invents the
/// number too, although it keeps one server connection for each client on hosts without `-pooler`. For such
/// hosts, and if the caller accepts a proxy, a second connection has to get its own server process.
pub(super) async fn refuse(client: &Client, server: &DirectServer) -> Result<(), MigrateError> {
    let backend = backend_pid(client).await?;
    let greeted_by = announced_pid(client).await;
    let is_pgpool = plumbing::is_behind_pgpool(client, &server.endpoint)
        .await
        .map_err(MigrateError::bookkeeping("ask who answers"))?;
    if greeted_by == Some(backend) && !is_pgpool {
        return Ok(());
    }

    let evidence = if server.through_proxy || keeps_one_backend_per_client(&server.endpoint) {
        let second = server.connect().await?;
        if backend_pid(&second).await? != backend {
            return Ok(());
        }
        format!("two connections share the server process {backend}")
    } else if is_pgpool {
        "Pgpool-II answers".to_owned()
    } else {
        let greeted_by = greeted_by.map_or_else(|| "none".to_owned(), |pid| pid.to_string());
        format!("the login named the server process {greeted_by}, and process {backend} answers")
    };
    Err(MigrateError::Pooled {
        origin: server.url_origin.clone(),
        evidence,
    })
}

/// Asks with an unnamed statement, because a pooler need not keep named ones.
async fn backend_pid(client: &Client) -> Result<i32, MigrateError> {
    let rows = client.query_typed("SELECT pg_backend_pid()", &[]).await;
    rows.and_then(|rows| rows.first().map_or(Ok(0), |row| row.try_get(0)))
        .map_err(MigrateError::bookkeeping(
            "ask the server for its process number",
        ))
}

/// The process number in BackendKeyData. tokio-postgres shows it only in a CancelRequest, which consists of
/// length, code, process number and secret, four bytes each. Nothing is sent. With TLS, a request for TLS
/// comes before it.
async fn announced_pid(client: &Client) -> Option<i32> {
    let request = Capture::default();
    client
        .cancel_token()
        .cancel_query_raw(request.clone(), request.clone())
        .await
        .ok()?;
    let bytes = request.bytes.lock().unwrap_or_else(PoisonError::into_inner);
    let (_before, request) = bytes.split_last_chunk::<16>()?;
    Some(i32::from_be_bytes(request[8..12].try_into().ok()?))
}

fn keeps_one_backend_per_client(endpoint: &Endpoint) -> bool {
    endpoint.pooler_hint.is_none()
        && endpoint.hosts.iter().all(|host| match host {
            Host::Tcp { name, .. } => name.ends_with(".neon.tech"),
            Host::Unix { .. } => false,
        })
}

/// A stream that keeps what is written to it. It is also its own TLS layer, without encryption.
#[derive(Clone, Default)]
struct Capture {
    /// Everything written so far.
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl AsyncWrite for Capture {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        written: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(written);
        Poll::Ready(Ok(written.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Capture {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        answer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Accepts a request for TLS.
        answer.put_slice(b"S");
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for Capture {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl TlsConnect<Capture> for Capture {
    type Stream = Capture;
    type Error = Infallible;
    type Future = Ready<Result<Capture, Infallible>>;

    fn connect(self, stream: Capture) -> Self::Future {
        ready(Ok(stream))
    }
}
