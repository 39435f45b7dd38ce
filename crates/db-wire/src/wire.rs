//! The wire: the stream under tokio-postgres, above TLS.
//!
//! It knows the protocol and nothing of pools. It reads the bytes that pass, keeps the facts in [`Observed`], and
//! rewrites requests where that saves a round trip or makes a pooler safe; [`conversation`](crate::conversation) says
//! how. When the connection is dropped, the stream hands its transport to the code that asked for it, so that this
//! code can wait for the end of the server's work.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use crate::conversation::Conversation;
use crate::conversation::lost::{connection_cut, connection_lost};
use crate::conversation::outcome::broken_off;
use crate::conversation::replies::server_sent;
use crate::conversation::requests::client_sent;
use crate::observed::Observed;
use crate::protocol::frame::BadLength;
use crate::steering::Steering;

/// A stream that conducts a conversation over the transport `T`.
#[derive(Debug)]
pub struct Wire<T> {
    /// Taken only when the wire is dropped.
    transport: Option<T>,
    conversation: Conversation,
    hand_back: Option<oneshot::Sender<T>>,
}

impl<T> Wire<T> {
    /// Wraps a transport on which nothing of the protocol has been sent yet.
    pub fn new(
        transport: T,
        observed: Arc<Observed>,
        steering: Arc<Steering>,
        hand_back: Option<oneshot::Sender<T>>,
    ) -> Self {
        Self {
            transport: Some(transport),
            conversation: Conversation::new(observed, steering),
            hand_back,
        }
    }
}

impl<T: AsyncWrite + Unpin> Wire<T> {
    /// Writes the bytes that wait for the server, as far as the transport takes them.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(transport) = self.transport.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        while !self.conversation.for_server().is_empty() {
            let waiting = self.conversation.for_server().waiting();
            match ready!(Pin::new(&mut *transport).poll_write(cx, waiting)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.conversation.for_server().take(count);
                    self.conversation.observed().sent(count);
                }
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
            let outbox = this.conversation.for_client();
            if !outbox.is_empty() {
                let waiting = outbox.waiting();
                let count = waiting.len().min(buf.remaining());
                buf.put_slice(&waiting[..count]);
                outbox.take(count);
                return Poll::Ready(Ok(()));
            }
            let Some(transport) = this.transport.as_mut() else {
                return Poll::Ready(Ok(()));
            };
            if let Some(why) = this.conversation.steering().is_cut() {
                let (why, told_before) = (why.to_owned(), this.conversation.observed().is_closed());
                connection_cut(&mut this.conversation, &why);
                if told_before || this.conversation.for_client().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let before = buf.filled().len();
            let outcome = match Pin::new(transport).poll_read(cx, buf) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    this.conversation.steering().note_reader(cx.waker());
                    return Poll::Pending;
                }
            };
            let fresh = &mut buf.filled_mut()[before..];
            if outcome.is_err() || fresh.is_empty() {
                connection_lost(&mut this.conversation);
                if !this.conversation.for_client().is_empty() {
                    // The reader gets these last words first, and the end of the stream at its next read.
                    continue;
                }
                return Poll::Ready(outcome);
            }
            this.conversation.observed().received(fresh.len());
            let kept = server_sent(&mut this.conversation, fresh)?;
            buf.set_filled(before + kept);
            // The answer may have released requests that had to wait for it.
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
        if this.conversation.steering().is_cut().is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if this.conversation.for_server().waiting().len() > MAX_WAITING {
            ready!(this.poll_drain(cx))?;
        }
        client_sent(&mut this.conversation, buf)?;
        if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        if !this.conversation.for_client().is_empty() {
            // The reader is the same task and has already looked, so it must look once more.
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

impl<T: TlsStream + Unpin> TlsStream for Wire<T> {
    fn channel_binding(&self) -> ChannelBinding {
        self.transport
            .as_ref()
            .map_or_else(ChannelBinding::none, TlsStream::channel_binding)
    }
}

/// How much may wait for a server that does not read, before its client has to wait too.
const MAX_WAITING: usize = 64 * 1024;

impl<T> Drop for Wire<T> {
    fn drop(&mut self) {
        self.conversation.observed().connection_closed();
        broken_off(&self.conversation);
        if let (Some(hand_back), Some(transport)) = (self.hand_back.take(), self.transport.take()) {
            // If nobody waits for it, the transport closes here, as it would without the wire.
            let _unclaimed = hand_back.send(transport);
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
