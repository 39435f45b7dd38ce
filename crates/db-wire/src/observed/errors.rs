//! The errors of a connection, as its pool reads and forgets them.

use std::sync::atomic::Ordering;

use super::{Observed, lock};

impl Observed {
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
