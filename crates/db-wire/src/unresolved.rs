//! What a transaction has failed with.

use crate::server_error::ServerError;

/// What a transaction has failed with, and nobody has rolled back yet.
#[derive(Clone, Debug)]
pub struct Unresolved {
    pub(crate) error: ServerError,
    pub(crate) stale: bool,
}

impl Unresolved {
    /// The error that made the transaction fail.
    #[must_use]
    pub fn error(&self) -> &ServerError {
        &self.error
    }

    /// Whether the same work may succeed when all of it is done again: the transaction conflicted with
    /// another one, or a statement had been prepared before a table changed.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.stale || self.error.is_conflict()
    }
}
