//! The error with which a transaction has failed.

use crate::server_error::ServerError;

/// The error with which a transaction has failed, as long as nobody has rolled it back.
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

    /// Whether the same work may succeed if all of it is run again: the transaction conflicted with
    /// another one, or a statement had been prepared before a table changed.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.stale || self.error.is_conflict()
    }
}
