//! How far to go back.

/// How far to revert.
pub(super) enum Back<'a> {
    /// So many migrations.
    Count(usize),
    /// Everything newer than this version, which stays.
    To(&'a str),
}
