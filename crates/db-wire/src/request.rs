//! What a client asked for, as far as the pool needs to know.

/// What a client asked for up to one Sync, as far as the pool needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Nothing runs: a lone Parse, Describe or Close.
    Housekeeping,
    /// Something runs.
    Work,
    /// A COMMIT runs, which must never be cancelled.
    Commit,
}

impl Request {
    pub(crate) fn works(self) -> bool {
        self != Request::Housekeeping
    }
}
