//! Why there was no further attempt.

use std::fmt;

/// What was used up when a transaction that conflicted was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exhausted {
    /// Its attempts.
    Attempts,
    /// The retry budget that it shares with the other transactions of its pool.
    Budget,
    /// Its time: the next attempt would have begun after its timeout.
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
