//! Why there was no further attempt.

use std::fmt;

/// The limit that ended the retries of a conflicting transaction.
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
