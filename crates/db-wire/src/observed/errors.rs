//! The errors of a connection, as its pool reads and forgets them.

use std::sync::atomic::Ordering;

use super::{Observed, lock};
use crate::server_error::ServerError;
use crate::unresolved::Unresolved;

impl Observed {
    /// The last error that the server has reported since the connection was handed out, even if it has been dealt
    /// with.
    #[must_use]
    pub fn last_error(&self) -> Option<ServerError> {
        lock(&self.last_error).clone()
    }

    /// The error with which the transaction has failed, until it is rolled back to a savepoint or completely. Of
    /// several errors it is the first, which made the transaction fail.
    #[must_use]
    pub fn unresolved(&self) -> Option<Unresolved> {
        lock(&self.unresolved).clone()
    }

    /// The error with which the transaction had failed before it was rolled back to a savepoint or completely.
    #[must_use]
    pub fn resolved(&self) -> Option<Unresolved> {
        lock(&self.resolved).clone()
    }

    /// How many errors the server has reported on this connection.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Acquire)
    }

    /// Notes that the connection has another holder now, whom the last error does not concern.
    pub fn forget_error(&self) {
        let errors = self.errors();
        if self.forgotten.swap(errors, Ordering::AcqRel) != errors {
            *lock(&self.last_error) = None;
        }
    }

    /// Notes that the connection is set up. The errors of the queries for the set-up concern
    /// nobody.
    pub fn forget_errors_of_set_up(&self) {
        *lock(&self.last_error) = None;
        *lock(&self.unresolved) = None;
        *lock(&self.resolved) = None;
        self.failing.store(false, Ordering::Release);
        self.errors.store(0, Ordering::Release);
    }
}
