//! How far a command reverts.

/// How far to revert.
pub(super) enum Back<'a> {
    /// This many migrations.
    Count(usize),
    /// Every migration that is newer than this version; the version itself stays applied.
    To(&'a str),
}
