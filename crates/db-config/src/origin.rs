//! Where a value came from.

use std::fmt;

/// Where a value came from, in words that a person understands: a variable, or a file and a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(String);

impl Origin {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Origin(text.into())
    }

    /// The origin as text: `APP_DB__POOLS__WRITE__MAX`, `config/prod.toml:12`, `built-in (prod)`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
