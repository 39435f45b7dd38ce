//! What a transaction was doing.

use std::fmt;

/// What a transaction was doing when its timeout expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Waiting for a connection.
    Checkout,
    /// Running the work.
    Work,
    /// Waiting for the answer to COMMIT.
    Commit,
    /// Waiting for the next attempt.
    Delay,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checkout => "waiting for a connection",
            Self::Work => "running the work",
            Self::Commit => "committing",
            Self::Delay => "waiting for the next attempt",
        })
    }
}
