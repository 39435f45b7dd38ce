//! Why there was no further attempt.

use std::fmt;

/// What ran out, so that a transaction that had conflicted was not retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exhausted {
    /// The attempts of this transaction.
    Attempts,
    /// The retry budget, which all transactions of a pool share.
    Budget,
    /// The time: the next attempt would have begun after the timeout.
    Time,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attempts => "",
            Self::Budget => "; the pool's retry budget is spent",
            Self::Time => "; another one would have come too late",
        })
    }
}
