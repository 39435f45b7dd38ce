//! The connector: how the wire gets under tokio-postgres.
//!
//! tokio-postgres hands its socket only to a TLS connector, so the wire comes with one. With TLS,
//! tokio-postgres asks the server for TLS as the URL says, and the connector does the handshake below the
//! wire. Without TLS, the pool configures tokio-postgres with `sslmode=require` and
//! `sslnegotiation=direct`: then it asks for nothing, and the connector leaves the socket as it is. This
//! keeps features that `connect_raw` would lose: host lists, `target_session_attrs`, notifications and the
//! address of the cancel token.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
#[cfg(not(test))]
pub(crate) use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::connect_error::TlsRefused;
use crate::connect::phases::Clock;
use crate::connect::stage::{ConnectProgress, ConnectStage};
#[cfg(test)]
pub(crate) use crate::gated::UnixStream;
use db_wire::{Observed, Steering, Wire};

/// What carries the bytes below the wire.
pub(crate) enum Transport {
    Plain(Socket),
    /// Boxed: otherwise its kilobyte would be part of every connection twice, even without TLS.
    Tls(Box<<MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>),
    Unix(UnixStream),
    /// The transport of a cancel request. The server closes it first.
    Lingering(Box<Transport>),
}

/// The ends of one connection that stay with the pool.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) observed: Arc<Observed>,
    pub(crate) steering: Arc<Steering>,
    pub(crate) clock: Clock,
    pub(crate) hand_back: HandBack,
}

/// Where a transport is handed back when the driver of its connection has ended.
#[derive(Debug)]
pub(crate) struct HandBack {
    handed_back: oneshot::Receiver<Transport>,
    /// The pool's own driver, which would wait for ever for the last answer. diesel-async ends its own
    /// driver.
    driver: Option<AbortHandle>,
}

impl HandBack {
    /// Makes this end the driver, and the socket with it, once nobody waits for the transport.
    pub(crate) fn ends(&mut self, driver: AbortHandle) {
        self.driver = Some(driver);
    }

    /// Leaves the driver alone: it ends when its client is dropped.
    pub(crate) fn let_go(&mut self) {
        self.driver = None;
    }

    pub(crate) async fn transport(&mut self) -> Option<Transport> {
        (&mut self.handed_back).await.ok()
    }
}

impl Drop for HandBack {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

/// The state of the TLS negotiation when the connector gets the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Negotiation {
    /// There is no TLS.
    Plain,
    /// Not negotiated yet: the connector asks. If the server has no TLS, the connector goes on without
    /// TLS. If the server has TLS, the connector gives up, so that the next attempt lets tokio-postgres
    /// ask.
    Open,
    /// The handshake comes next: tokio-postgres has asked, or no question is needed.
    Handshake,
}

/// Makes observed streams. There is one connector for each attempt to connect.
#[derive(Clone)]
pub(crate) struct Connector {
    negotiation: Negotiation,
    /// `None` if TLS is off.
    tls: Option<MakeRustlsConnect>,
    /// Whether the server has answered a connector's question that it speaks TLS.
    speaks_tls: Arc<AtomicBool>,
    startup: Arc<[(String, String)]>,
    answers_set_up: bool,
    lingers: bool,
    clock: Clock,
    progress: ConnectProgress,
    /// The link of the newest socket. With several hosts, the last socket is the one that stays.
    newest: Arc<Mutex<Option<Link>>>,
}

impl Connector {
    /// `tls` is `None` exactly if the URL switches TLS off.
    pub(crate) fn new(tls: Option<MakeRustlsConnect>) -> Self {
        Self {
            negotiation: match tls {
                Some(_) => Negotiation::Handshake,
                None => Negotiation::Plain,
            },
            tls,
            speaks_tls: Arc::default(),
            startup: Arc::default(),
            answers_set_up: false,
            lingers: false,
            clock: Clock::start(),
            progress: ConnectProgress::default(),
            newest: Arc::default(),
        }
    }

    /// Prepares it for connections that diesel-async takes over: adds these parameters to the startup
    /// packet, and has the wire answer diesel-async's set-up statements.
    pub(crate) fn for_diesel(mut self, startup: Vec<(String, String)>) -> Self {
        self.startup = startup.into();
        self.answers_set_up = true;
        self
    }

    /// Sends no parameters, because something refuses them.
    pub(crate) fn announces_nothing(&mut self) {
        self.startup = Arc::default();
    }

    /// A connector with the same rules, for another connection that begins now.
    pub(crate) fn afresh(&self, progress: ConnectProgress) -> Self {
        Self {
            clock: Clock::start(),
            progress,
            newest: Arc::default(),
            speaks_tls: Arc::default(),
            ..self.clone()
        }
    }

    pub(crate) fn negotiation(&self) -> Negotiation {
        self.negotiation
    }

    /// Sets the state of the negotiation for the next socket.
    pub(crate) fn negotiated(&mut self, negotiation: Negotiation) {
        self.negotiation = negotiation;
    }

    /// Whether the server has told this connector that it speaks TLS.
    pub(crate) fn has_met_tls(&self) -> bool {
        self.speaks_tls.load(Ordering::Relaxed)
    }

    /// Whether tokio-postgres has taken a stream of this connector, so that the wire is under it.
    pub(crate) fn is_in_place(&self) -> bool {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.is_some()
    }

    /// A connector for a cancel request. The socket stays open for the code that takes the link, although
    /// tokio-postgres closes it as soon as it has written.
    pub(crate) fn lingering(&self) -> Self {
        Self {
            lingers: true,
            ..self.afresh(ConnectProgress::default())
        }
    }

    /// Notes that the host's name has been resolved, and when.
    pub(crate) fn resolved(&mut self, clock: Clock) {
        self.progress.reach(ConnectStage::Socket);
        self.clock = clock;
    }

    /// The link of the connection that was made last.
    pub(crate) fn take_link(&self) -> Option<Link> {
        self.newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// An observed stream whose link replaces the newest one.
    pub(crate) fn observe(&self, transport: Transport) -> Wire<Transport> {
        self.progress.reach(ConnectStage::Login);
        let observed = Arc::new(Observed::default());
        let steering = Steering::new(Arc::clone(&self.startup), self.answers_set_up);
        let steering = Arc::new(steering);
        let (sender, handed_back) = oneshot::channel();
        let link = Link {
            observed: Arc::clone(&observed),
            steering: Arc::clone(&steering),
            clock: Clock {
                secured: Instant::now(),
                ..self.clock
            },
            hand_back: HandBack {
                handed_back,
                driver: None,
            },
        };
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        let transport = match self.lingers {
            true => Transport::Lingering(Box::new(transport)),
            false => transport,
        };
        Wire::new(transport, observed, steering, Some(sender))
    }

    async fn open(
        self,
        domain: String,
        mut socket: Socket,
    ) -> Result<Wire<Transport>, ConnectorError> {
        let mut tls = match (self.negotiation, self.tls.clone()) {
            (Negotiation::Handshake, Some(tls)) => tls,
            (Negotiation::Open, Some(_)) => {
                socket.write_all(&SSL_REQUEST).await?;
                match socket.read_u8().await? {
                    b'N' => return Ok(self.observe(Transport::Plain(socket))),
                    b'S' => {
                        self.speaks_tls.store(true, Ordering::Relaxed);
                        return Err(TlsRefused("the server speaks TLS, and is asked again").into());
                    }
                    b'E' => return Err(TlsRefused("the server does not speak TLS").into()),
                    other => {
                        let other = char::from(other);
                        let said = format!("it answered a request for TLS with {other:?}");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, said).into());
                    }
                }
            }
            _ => return Ok(self.observe(Transport::Plain(socket))),
        };
        let handshake = MakeTlsConnect::<Socket>::make_tls_connect(&mut tls, &domain)?;
        let stream = handshake.connect(socket).await.map_err(in_words)?;
        Ok(self.observe(Transport::Tls(Box::new(stream))))
    }
}

/// Explains the error if the server has found no signature scheme for the handshake that this client
/// supports.
fn in_words(error: io::Error) -> ConnectorError {
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
    match alert {
        Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)) => {
            TlsRefused(HANDSHAKE_FAILURE).into()
        }
        _ => error.into(),
    }
}

const HANDSHAKE_FAILURE: &str = "the server ended the handshake (handshake_failure): its certificate may have a key of a \
     kind that this client does not know, such as ECDSA on P-521 or a brainpool curve, Ed448 or DSA; one on P-256 or \
     P-384, Ed25519 or RSA serves";

type ConnectorError = Box<dyn StdError + Send + Sync>;

/// The packet that asks for TLS: its length and the code 1234.5679.
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Wire<Transport>;
    type TlsConnect = HostConnector;
    type Error = ConnectorError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<HostConnector, ConnectorError> {
        let mut connector = self.clone();
        connector.progress.reach(ConnectStage::Tls);
        connector.clock.opened = Instant::now();
        Ok(HostConnector {
            connector,
            domain: domain.to_owned(),
        })
    }
}

/// A connector that knows the name of the host.
pub(crate) struct HostConnector {
    connector: Connector,
    domain: String,
}

impl TlsConnect<Socket> for HostConnector {
    type Stream = Wire<Transport>;
    type Error = ConnectorError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire<Transport>, ConnectorError>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(self.connector.open(self.domain, socket))
    }
}

impl TlsStream for Transport {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Self::Tls(stream) => stream.channel_binding(),
            _ => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Lingering(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Lingering(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Lingering(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Lingering(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Tls(_) => "Tls",
            Self::Unix(_) => "Unix",
            Self::Lingering(_) => "Lingering",
        })
    }
}
