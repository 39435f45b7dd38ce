//! How far an attempt to connect has come.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The part of connecting that an attempt has reached, or in which it has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConnectStage {
    /// Resolving the host's name.
    #[default]
    Name,
    /// Opening the socket.
    Socket,
    /// Agreeing on TLS, certificates included.
    Tls,
    /// Logging in.
    Login,
    /// Examining the other end, and the session's settings.
    SetUp,
}

impl fmt::Display for ConnectStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "resolving the name",
            Self::Socket => "opening the socket",
            Self::Tls => "agreeing on TLS",
            Self::Login => "logging in",
            Self::SetUp => "setting the session up",
        })
    }
}

/// The stage of one attempt. The steps of the attempt set it; the code that ends the attempt reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectProgress(Arc<AtomicU8>);

impl ConnectProgress {
    pub(crate) fn reach(&self, stage: ConnectStage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn stage(&self) -> ConnectStage {
        let reached = self.0.load(Ordering::Relaxed);
        let stages = [
            ConnectStage::Socket,
            ConnectStage::Tls,
            ConnectStage::Login,
            ConnectStage::SetUp,
        ];
        let found = stages.into_iter().find(|stage| *stage as u8 == reached);
        found.unwrap_or_default()
    }
}
