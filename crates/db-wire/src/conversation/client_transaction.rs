//! The transaction as the client believes it, where that is not what the server has been told.

use crate::rules::Rules;
use crate::sql::transactions::{Isolation, Opening};

/// What stands between the client's belief and the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum ClientTransaction {
    /// They agree.
    #[default]
    Plain,
    /// BEGIN has been answered and not been sent.
    Held(Opening),
    /// A BEGIN that was held has been sent.
    Open {
        /// READ ONLY, not SERIALIZABLE, and nothing but plain SELECTs so far: its COMMIT cannot fail in a
        /// way that anybody must hear of.
        harmless: bool,
    },
    /// The client believes to be in a failed transaction, and until it ends it nothing may reach the
    /// server. Either its held BEGIN failed when it was sent, or the wire has called a statement failed
    /// that the server had completed: then the server's transaction is still to be rolled back.
    Broken { begun: bool },
    /// COMMIT went with the last statement, at the client's word, and the client has not ended its transaction yet.
    Committed {
        /// Something that came behind it was refused.
        refused: bool,
    },
}

impl ClientTransaction {
    /// The status the client is told, where it is not the server's.
    pub(crate) fn status(&self) -> Option<u8> {
        match self {
            Self::Held(_) | Self::Committed { refused: false } => Some(b'T'),
            Self::Broken { .. } | Self::Committed { refused: true } => Some(b'E'),
            Self::Plain | Self::Open { .. } => None,
        }
    }

    /// Gives the held BEGIN out to be sent.
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

    /// Whether a query that needs no transaction may run before BEGIN is sent: READ ONLY and READ COMMITTED, in which
    /// each statement has a snapshot of its own, and with no settings to begin with.
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
