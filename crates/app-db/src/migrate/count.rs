//! Counts in messages.

use std::fmt;

/// A number with the noun that it counts.
pub(super) struct Count(
    pub(super) usize,
    pub(super) &'static str,
    pub(super) &'static str,
);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, one, many) = self;
        write!(f, "{count} {}", if *count == 1 { one } else { many })
    }
}
