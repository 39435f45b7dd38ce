//! The breaker: whether a pool still believes in its server.

use std::fmt;

/// Whether callers wait for a server that cannot be connected to, or are told so at once.
///
/// A live connection is handed out whatever the breaker says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Breaker {
    /// Callers wait while connecting is tried again.
    #[default]
    Closed,
    /// Too many attempts have failed in a row: while no connection lives, callers are told at once why
    /// the last one did.
    Open,
    /// One attempt is under way that decides between the other two; callers are told as before.
    HalfOpen,
}

impl Breaker {
    /// After an attempt has begun.
    pub(crate) fn tried(self) -> Self {
        match self {
            Self::Open => Self::HalfOpen,
            closed_or_half_open => closed_or_half_open,
        }
    }

    /// After the last of so many failures in a row.
    pub(crate) fn failed(self, in_a_row: u32, most: u32) -> Self {
        match self {
            Self::Closed if in_a_row < most => Self::Closed,
            _ => Self::Open,
        }
    }

    /// After an attempt has ended without telling anything of the server.
    pub(crate) fn untold(self) -> Self {
        match self {
            Self::HalfOpen => Self::Open,
            closed_or_open => closed_or_open,
        }
    }
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}
