//! A token that other code can use to cancel what a pooled connection is doing.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use crate::connect::canceller::{CANCEL_TIMEOUT, Canceller};
use crate::connect::connect_error::ConnectError;
use crate::connect::connector::Negotiation;

/// Cancels the statement of a pooled connection. It replaces tokio-postgres' token of that name.
///
/// It also works after the connection has been returned. Then it cancels the next holder's statement.
#[derive(Clone)]
pub struct CancelToken {
    canceller: Canceller,
}

impl CancelToken {
    pub(crate) fn new(canceller: Canceller) -> Self {
        Self { canceller }
    }

    /// Asks the server to stop the statement that the connection is running, if there is one.
    ///
    /// The request goes the same way as the pool's connections: to the host of this connection, over TCP,
    /// a Unix socket or TLS, as the URL says. `tls` is not used; it exists so that code written for
    /// tokio-postgres compiles. This returns when the server, or the pooler in front of it, has received
    /// the request and hung up. The server does not say whether there was a statement to stop.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], if the server did not receive the request within two seconds.
    ///
    /// Dropping the future may leave the request unsent.
    pub async fn cancel_query<T>(&self, tls: T) -> Result<(), ConnectError>
    where
        T: MakeTlsConnect<Socket>,
    {
        drop(tls);
        self.canceller.request().await
    }

    /// Like [`cancel_query`](Self::cancel_query), over a stream that is already connected to the server.
    ///
    /// `tls` is used only if the pool's connections use TLS. The call waits until the server has hung up
    /// only without TLS, because tokio-postgres does not give back a stream that it has encrypted.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], if the request could not be written.
    ///
    /// Dropping the future may leave the request unsent.
    pub async fn cancel_query_raw<S, T>(&self, mut stream: S, tls: T) -> Result<(), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: TlsConnect<S>,
    {
        let token = &self.canceller.token;
        let failed = |error| ConnectError::from_postgres(&self.canceller.address, &error);
        if self.canceller.connector.negotiation() != Negotiation::Plain {
            return token.cancel_query_raw(stream, tls).await.map_err(failed);
        }
        let sending = token.cancel_query_raw(Kept(&mut stream), LeftAlone);
        sending.await.map_err(failed)?;
        let mut rest = [0; 16];
        let hanging_up =
            async { while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {} };
        let _in_time = timeout(CANCEL_TIMEOUT, hanging_up).await;
        Ok(())
    }
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelToken")
            .field("address", &self.canceller.address)
            .finish_non_exhaustive()
    }
}

/// Treats a stream as already encrypted, so that tokio-postgres does not ask the server for TLS.
struct LeftAlone;

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<S> for LeftAlone {
    type Stream = Kept<S>;
    type Error = Infallible;
    type Future = Ready<Result<Kept<S>, Infallible>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(Kept(stream)))
    }
}

/// A stream that tokio-postgres does not close after its request.
struct Kept<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Kept<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Kept<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Kept<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
}
