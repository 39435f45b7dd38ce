//! The transaction as the client sees it, where the server has been told something else.

use crate::rules::Rules;
use crate::sql::transactions::{Isolation, Opening};

/// How the client's view of its transaction differs from the server's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum ClientTransaction {
    /// There is no difference.
    #[default]
    Plain,
    /// The wire has answered BEGIN and not sent it yet.
    Held(Opening),
    /// The wire has sent the BEGIN that it held back.
    Open {
        /// READ ONLY, not SERIALIZABLE, and only plain SELECTs so far. Its COMMIT cannot fail in a way that the
        /// client needs to know.
        harmless: bool,
    },
    /// The client believes that it is in a failed transaction, and nothing may reach the server until the client ends
    /// it. Either the held BEGIN failed when it was sent, or the wire has reported a statement as failed that the
    /// server had completed. In the second case the server's transaction must still be rolled back.
    Broken { begun: bool },
    /// COMMIT travelled with the last statement, because the client asked for that. The client has not ended its
    /// transaction yet.
    Committed {
        /// The wire has refused a statement that came after it.
        refused: bool,
    },
}

impl ClientTransaction {
    /// The status that the client is told, if it differs from the server's.
    pub(crate) fn status(&self) -> Option<u8> {
        match self {
            Self::Held(_) | Self::Committed { refused: false } => Some(b'T'),
            Self::Broken { .. } | Self::Committed { refused: true } => Some(b'E'),
            Self::Plain | Self::Open { .. } => None,
        }
    }

    /// Hands out the held BEGIN, to be sent.
    pub(crate) fn send_begin(&mut self, rules: &Rules) -> Option<Opening> {
        let Self::Held(opening) = self else {
            return None;
        };
        let mut opening = std::mem::take(opening);
        let begin = opening.begin;
        if let Some(settings) = &rules.local_settings {
            let mut sql = opening.sql.into_vec();
            sql.extend_from_slice(settings.begin(begin).as_bytes());
            opening.sql = sql.into();
        }
        let serializable = match begin.isolation {
            Some(level) => level == Isolation::Serializable,
            None => rules.serializable_by_default,
        };
        *self = Self::Open {
            harmless: begin.read_only && !serializable,
        };
        Some(opening)
    }

    pub(crate) fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// Whether a query that needs no transaction may run before BEGIN is sent. The transaction must be READ ONLY and
    /// READ COMMITTED, in which each statement has a snapshot of its own, and must begin with no settings.
    pub(crate) fn lets_reads_go_alone(&self, rules: &Rules) -> bool {
        let Self::Held(opening) = self else {
            return false;
        };
        let level = match opening.begin.isolation {
            Some(level) => level == Isolation::ReadCommitted && !rules.serializable_by_default,
            None => rules.read_committed_by_default,
        };
        rules.defer_begin && opening.begin.read_only && level && opening.settings.is_empty()
    }

    /// Notes that something other than a plain SELECT runs in it.
    pub(crate) fn taint(&mut self) {
        if let Self::Open { harmless } = self {
            *harmless = false;
        }
    }

    pub(crate) fn is_harmless(&self) -> bool {
        matches!(self, Self::Open { harmless: true })
    }
}
