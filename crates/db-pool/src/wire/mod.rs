//! The wire: the stream under tokio-postgres, above TLS.
//!
//! It knows the protocol and nothing of pools. What passes is read, kept in [`Observed`], and rewritten
//! where that removes a round trip or makes a pooler safe; see `conversation.rs` for how. When the
//! connection is dropped the stream hands its transport to whoever asked for it, so that the end of the
//! server's work can be awaited.

mod conversation;
mod exchange;
mod frame;
mod message;
mod observe;
mod replies;
mod requests;
mod rules;
mod statements;
mod text;
mod transaction;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

pub use self::observe::{Observed, TransactionStatus};
pub(crate) use self::rules::{Command, LocalSettings, Naming, Rules, Steering, Watcher, literal};

use self::conversation::Conversation;
use self::frame::BadLength;

/// A stream that conducts a conversation over the transport `T`.
#[derive(Debug)]
pub(crate) struct Wire<T> {
    /// Taken only when the wire is dropped.
    transport: Option<T>,
    conversation: Conversation,
    farewell: Option<oneshot::Sender<T>>,
}

impl<T> Wire<T> {
    /// Wraps a transport on which nothing of the protocol has been sent yet.
    pub(crate) fn new(
        transport: T,
        observed: Arc<Observed>,
        steering: Arc<Steering>,
        farewell: Option<oneshot::Sender<T>>,
    ) -> Self {
        Self {
            transport: Some(transport),
            conversation: Conversation::new(observed, steering),
            farewell,
        }
    }

    /// The transport below.
    pub(crate) fn transport(&self) -> Option<&T> {
        self.transport.as_ref()
    }
}

impl<T: AsyncWrite + Unpin> Wire<T> {
    /// Writes what waits for the server, as far as the transport takes it.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(transport) = self.transport.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let waiting = self.conversation.for_server();
        while !waiting.is_empty() {
            match ready!(Pin::new(&mut *transport).poll_write(cx, waiting)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => waiting.advance(count),
                Err(error) => {
                    self.conversation.observed().connection_closed();
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let waiting = this.conversation.for_client();
            if !waiting.is_empty() {
                let count = waiting.len().min(buf.remaining());
                buf.put_slice(&waiting[..count]);
                waiting.advance(count);
                return Poll::Ready(Ok(()));
            }
            let Some(transport) = this.transport.as_mut() else {
                return Poll::Ready(Ok(()));
            };
            let before = buf.filled().len();
            let outcome = ready!(Pin::new(transport).poll_read(cx, buf));
            let fresh = &mut buf.filled_mut()[before..];
            if outcome.is_err() || fresh.is_empty() {
                this.conversation.observed().connection_closed();
                return Poll::Ready(outcome);
            }
            let kept = this.conversation.server_sent(fresh)?;
            buf.set_filled(before + kept);
            // An answer may have set free what had to wait for it.
            if !this.conversation.for_server().is_empty()
                && let Poll::Ready(Err(error)) = this.poll_drain(cx)
            {
                return Poll::Ready(Err(error));
            }
            if kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.conversation.for_server().len() > MAX_WAITING {
            ready!(this.poll_drain(cx))?;
        }
        this.conversation.client_sent(buf)?;
        if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        if !this.conversation.for_client().is_empty() {
            // The reader is the same task and has looked already: it must look once more.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        match this.transport.as_mut() {
            Some(transport) => Pin::new(transport).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        match this.transport.as_mut() {
            Some(transport) => Pin::new(transport).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// How much may wait for a server that does not read, before its client has to wait too.
const MAX_WAITING: usize = 64 * 1024;

impl<T> Drop for Wire<T> {
    fn drop(&mut self) {
        self.conversation.observed().connection_closed();
        if let (Some(farewell), Some(transport)) = (self.farewell.take(), self.transport.take()) {
            // Nobody waits for it: then the transport closes here, as it would without us.
            let _unclaimed = farewell.send(transport);
        }
    }
}

impl From<BadLength> for io::Error {
    fn from(bad: BadLength) -> Self {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the peer announced a message {:?} of {} bytes",
                char::from(bad.tag),
                bad.length
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const STARTUP: &[u8] = b"\0\0\0\x08\0\x03\0\0";

    /// Case F1, F2 and F5: what the pool must know is read off the bytes.
    #[tokio::test]
    async fn the_wire_sees_status_work_and_sqlstate() {
        let (ours, mut server) = duplex(4096);
        let observed = Arc::new(Observed::default());
        let mut wire = Wire::new(ours, Arc::clone(&observed), Arc::default(), None);
        let mut read = [0; 256];

        wire.write_all(STARTUP).await.unwrap();
        server
            .write_all(b"K\0\0\0\x0c\0\0\x10\x01\0\0\0\x02S\0\0\0\x08a\0b\0Z\0\0\0\x05I")
            .await
            .unwrap();
        let _count = wire.read(&mut read).await.unwrap();
        assert_eq!(observed.backend_pid(), 0x1001);
        assert_eq!(observed.parameter("a").as_deref(), Some("b"));
        assert_eq!(observed.transaction_status(), TransactionStatus::Idle);

        // A lone Close is not work; a statement is, until its ReadyForQuery.
        wire.write_all(b"C\0\0\0\x06S\0S\0\0\0\x04").await.unwrap();
        assert!(!observed.is_working());
        wire.write_all(b"Q\0\0\0\x0bCOMMIT\0").await.unwrap();
        assert!(observed.is_working() && observed.is_committing());
        server
            .write_all(b"3\0\0\0\x04Z\0\0\0\x05IC\0\0\0\x0bCOMMIT\0Z\0\0\0\x05I")
            .await
            .unwrap();
        let _count = wire.read(&mut read).await.unwrap();
        assert!(!observed.is_working() && !observed.is_committing());
        assert_eq!(observed.statements(), 1);
    }

    #[tokio::test]
    async fn an_error_is_kept_with_its_code() {
        let (ours, mut server) = duplex(4096);
        let observed = Arc::new(Observed::default());
        let mut wire = Wire::new(ours, Arc::clone(&observed), Arc::default(), None);
        let fields = b"SFEHLER\0VERROR\0C40P01\0Mwechselseitige Blockade\0nkey\0Rroutine\0\0";
        let mut bytes = vec![b'E'];
        bytes.extend_from_slice(&(fields.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(fields);
        server.write_all(&bytes).await.unwrap();
        let _count = wire.read(&mut [0; 256]).await.unwrap();
        let error = observed.last_error().unwrap();
        assert_eq!(error.sqlstate().code(), "40P01");
        assert_eq!(error.constraint(), Some("key"));
        assert_eq!(observed.errors(), 1);
    }

    #[tokio::test]
    async fn a_dropped_wire_hands_its_transport_over() {
        let (ours, _server) = duplex(16);
        let observed = Arc::new(Observed::default());
        let (farewell, claimed) = oneshot::channel();
        drop(Wire::new(
            ours,
            Arc::clone(&observed),
            Arc::default(),
            Some(farewell),
        ));
        claimed.await.unwrap();
        assert!(observed.is_closed());
    }
}
