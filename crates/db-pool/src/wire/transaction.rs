//! The transaction as the client believes it, where that is not what the server has been told.

use super::text::Begin;

/// What stands between the client's belief and the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Transaction {
    /// They agree.
    #[default]
    Plain,
    /// BEGIN has been answered and not been sent.
    Held { sql: Box<[u8]>, begin: Begin },
    /// A BEGIN that was held has been sent.
    Open {
        /// READ ONLY, not SERIALIZABLE, and nothing but plain SELECTs so far: its COMMIT cannot fail in a
        /// way that anybody must hear of.
        harmless: bool,
    },
    /// The held BEGIN failed when it was sent: the server is in no transaction, the client believes to
    /// be in a failed one. Until it ends it, nothing may reach the server.
    Broken,
}

impl Transaction {
    /// The status the client is told, given the server's.
    pub(crate) fn status(&self, server: u8) -> u8 {
        match self {
            Self::Held { .. } => b'T',
            Self::Broken => b'E',
            Self::Plain | Self::Open { .. } => server,
        }
    }

    /// Gives the held BEGIN out to be sent.
    pub(crate) fn send_begin(&mut self, serializable_by_default: bool) -> Option<Box<[u8]>> {
        let Self::Held { begin, .. } = self else {
            return None;
        };
        let serializable = begin.serializable || (serializable_by_default && !begin.isolation);
        let open = Self::Open {
            harmless: begin.read_only && !serializable,
        };
        match std::mem::replace(self, open) {
            Self::Held { sql, .. } => Some(sql),
            _ => None,
        }
    }

    /// Something other than a plain SELECT runs in it.
    pub(crate) fn taint(&mut self) {
        if let Self::Open { harmless } = self {
            *harmless = false;
        }
    }

    pub(crate) fn is_harmless(&self) -> bool {
        matches!(self, Self::Open { harmless: true })
    }
}
