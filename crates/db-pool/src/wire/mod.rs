//! The wire: the stream under tokio-postgres, above TLS.
//!
//! It knows the protocol and nothing of pools. Bytes pass through unchanged; on the way their frames
//! are read, and what they say is kept in [`Observed`]. When the connection is dropped the stream
//! hands its transport to whoever asked for it, so that the end of the server's work can be awaited.

mod frame;
mod observe;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

pub use self::observe::{Observed, TransactionStatus};

use self::frame::{BadLength, FrameReader, Keep};
use self::observe::Request;
use crate::server_error::ServerError;

/// An observed stream over the transport `T`.
#[derive(Debug)]
pub(crate) struct Wire<T> {
    /// Taken only when the wire is dropped.
    transport: Option<T>,
    observed: Arc<Observed>,
    sent: FrameReader,
    received: FrameReader,
    /// The strongest request since the last Sync.
    batch: Request,
    /// What each ReadyForQuery still to come will answer.
    unanswered: VecDeque<Request>,
    farewell: Option<oneshot::Sender<T>>,
}

impl<T> Wire<T> {
    /// Wraps a transport on which nothing has been sent yet.
    pub(crate) fn new(
        transport: T,
        observed: Arc<Observed>,
        farewell: Option<oneshot::Sender<T>>,
    ) -> Self {
        Self {
            transport: Some(transport),
            observed,
            sent: FrameReader::client(),
            received: FrameReader::server(),
            batch: Request::Housekeeping,
            // The startup packet is answered by a ReadyForQuery as well.
            unanswered: VecDeque::from([Request::Housekeeping]),
            farewell,
        }
    }

    /// The transport below.
    pub(crate) fn transport(&self) -> Option<&T> {
        self.transport.as_ref()
    }

    fn observe_sent(&mut self, bytes: &[u8]) -> Result<(), BadLength> {
        let (batch, unanswered, observed) = (&mut self.batch, &mut self.unanswered, &self.observed);
        self.sent.feed(
            bytes,
            |tag| {
                if tag == b'Q' {
                    Keep::Body
                } else {
                    Keep::Nothing
                }
            },
            |tag, body| {
                let mut ends = |request| {
                    observed.request_sent(request);
                    unanswered.push_back(request);
                };
                match tag {
                    b'E' => *batch = Request::Work,
                    b'S' => ends(std::mem::replace(batch, Request::Housekeeping)),
                    b'Q' if is_commit(body) => ends(Request::Commit),
                    b'Q' | b'F' => ends(Request::Work),
                    _ => {}
                }
            },
        )
    }

    fn observe_received(&mut self, bytes: &[u8]) -> Result<(), BadLength> {
        let (unanswered, observed) = (&mut self.unanswered, &self.observed);
        self.received.feed(
            bytes,
            |tag| match tag {
                b'E' | b'K' | b'S' | b'Z' => Keep::Body,
                _ => Keep::Nothing,
            },
            |tag, body| match (tag, body) {
                (b'C' | b'I', _) => observed.statement_completed(),
                (b'E', fields) => observed.error_reported(ServerError::from_fields(fields)),
                (b'K', [a, b, c, d, ..]) => {
                    observed.backend_named(i32::from_be_bytes([*a, *b, *c, *d]));
                }
                (b'S', pair) => {
                    let mut texts = pair.split(|b| *b == 0).map(String::from_utf8_lossy);
                    if let (Some(name), Some(value)) = (texts.next(), texts.next()) {
                        observed.parameter_reported(&name, &value);
                    }
                }
                (b'Z', [status, ..]) => {
                    let request = unanswered.pop_front().unwrap_or(Request::Housekeeping);
                    observed.request_answered(request, *status);
                }
                _ => {}
            },
        )
    }
}

/// Whether a simple query begins with the word that must not be cancelled.
fn is_commit(query: &[u8]) -> bool {
    let query = query.trim_ascii_start();
    let word = |word: &[u8]| {
        query.len() >= word.len()
            && query[..word.len()].eq_ignore_ascii_case(word)
            && !query.get(word.len()).is_some_and(u8::is_ascii_alphanumeric)
    };
    word(b"COMMIT") || word(b"END")
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(transport) = this.transport.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        let before = buf.filled().len();
        let outcome = ready!(Pin::new(transport).poll_read(cx, buf));
        let fresh = &buf.filled()[before..];
        if outcome.is_err() || fresh.is_empty() {
            this.observed.connection_closed();
            return Poll::Ready(outcome);
        }
        Poll::Ready(this.observe_received(fresh).map_err(io::Error::from))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(transport) = this.transport.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let written = ready!(Pin::new(transport).poll_write(cx, buf));
        match &written {
            Ok(count) => this.observe_sent(&buf[..*count])?,
            Err(_) => this.observed.connection_closed(),
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().transport.as_mut() {
            Some(transport) => Pin::new(transport).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().transport.as_mut() {
            Some(transport) => Pin::new(transport).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<T> Drop for Wire<T> {
    fn drop(&mut self) {
        self.observed.connection_closed();
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
        let mut wire = Wire::new(ours, Arc::clone(&observed), None);
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
        let mut wire = Wire::new(ours, Arc::clone(&observed), None);
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
        drop(Wire::new(ours, Arc::clone(&observed), Some(farewell)));
        claimed.await.unwrap();
        assert!(observed.is_closed());
    }

    #[test]
    fn a_commit_is_known_by_its_first_word() {
        for query in [
            &b"COMMIT\0"[..],
            b" commit;\0",
            b"END\0",
            b"Commit and chain\0",
        ] {
            assert!(is_commit(query), "{query:?}");
        }
        for query in [&b"COMMITTED\0"[..], b"SELECT 1\0", b"ENDLESS", b""] {
            assert!(!is_commit(query), "{query:?}");
        }
    }
}
