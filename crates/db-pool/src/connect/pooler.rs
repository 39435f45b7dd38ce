//! What is between a pool and its server.

use std::fmt;

/// What is between a pool and its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooler {
    /// No connection has been made yet.
    Unknown,
    /// Nothing: PostgreSQL itself answers.
    None,
    /// A pooler that gives each client its own server connection, according to the configuration.
    Session,
    /// Pgpool-II, which gives each client its own session on each of its servers. It sends a text of several
    /// statements only to the primary, so no reset reaches a session on a standby.
    Pgpool,
    /// A pooler that may give each transaction to another server connection.
    Shared {
        /// Whether it is proven to give each client its own prepared statements.
        keeps_names: bool,
    },
}

impl Pooler {
    /// Whether there is known to be a pooler in front of the server.
    pub(crate) fn stands_between(self) -> bool {
        !matches!(self, Self::None | Self::Unknown)
    }
}

impl fmt::Display for Pooler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not known yet",
            Self::None => "none: PostgreSQL itself answers",
            Self::Session => "a pooler in session mode, as configured",
            Self::Pgpool => "Pgpool-II, which gives each client a session on each of its servers",
            Self::Shared { keeps_names: true } => {
                "a pooler that may share sessions, proven to keep prepared statements by name"
            }
            Self::Shared { keeps_names: false } => {
                "a pooler that may share sessions, not proven to keep prepared statements"
            }
        })
    }
}
