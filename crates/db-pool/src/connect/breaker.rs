//! The breaker: whether a pool still expects its server to come back soon.

use std::fmt;

/// Whether callers wait for an unreachable server, or get an error at once.
///
/// The pool hands out live connections whatever the breaker says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Breaker {
    /// Callers wait while the pool tries again to connect.
    #[default]
    Closed,
    /// Too many attempts have failed in a row. While no connection lives, callers get the last failure
    /// at once.
    Open,
    /// One attempt is running that decides between the other two states. Callers get the last failure
    /// at once, as before.
    HalfOpen,
}

impl Breaker {
    /// The state after an attempt has begun.
    pub(crate) fn tried(self) -> Self {
        match self {
            Self::Open => Self::HalfOpen,
            closed_or_half_open => closed_or_half_open,
        }
    }

    /// The state after the last of `in_a_row` failures.
    pub(crate) fn failed(self, in_a_row: u32, most: u32) -> Self {
        match self {
            Self::Closed if in_a_row < most => Self::Closed,
            _ => Self::Open,
        }
    }

    /// The state after an attempt that said nothing about the server.
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
