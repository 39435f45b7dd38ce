//! What a startup packet carries besides user and database, and what it leaves out after a refusal.

use std::sync::atomic::{AtomicU8, Ordering};

/// How much a startup packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum StartupPacket {
    /// `options`, `application_name` and what poolers keep for each client.
    Whole,
    /// Everything except `options`, which many poolers refuse.
    WithoutOptions,
    /// Only what tokio-postgres sends by itself.
    Bare,
}

impl StartupPacket {
    /// What to try after a refusal. A refusal does not always name the parameter.
    pub(crate) fn after_refusal(self) -> Option<Self> {
        match self {
            Self::Whole => Some(Self::WithoutOptions),
            Self::WithoutOptions => Some(Self::Bare),
            Self::Bare => None,
        }
    }
}

/// The packet that an endpoint last accepted, so that each refusal happens only once.
#[derive(Debug, Default)]
pub(crate) struct Accepted(AtomicU8);

impl Accepted {
    pub(crate) fn last(&self) -> StartupPacket {
        [StartupPacket::Whole, StartupPacket::WithoutOptions]
            .into_iter()
            .find(|packet| *packet as u8 == self.0.load(Ordering::Relaxed))
            .unwrap_or(StartupPacket::Bare)
    }

    /// Remembers a login that succeeded, and logs it if its packet carried less than the one
    /// before.
    pub(crate) fn note(&self, packet: StartupPacket, address: &str) {
        if self.0.swap(packet as u8, Ordering::Relaxed) >= packet as u8 {
            return;
        }
        if packet == StartupPacket::Bare {
            tracing::info!(target: "app_db::pool", address, "a pooler refuses parameters of the startup packet");
        } else {
            tracing::info!(target: "app_db::pool", address, "a pooler refuses the options of the startup packet");
        }
    }
}
