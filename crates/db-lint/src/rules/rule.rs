//! One rule.

use serde::Serialize;

/// A rule. Its name never changes, so that comments, settings and reports can rely on it.
#[derive(Clone, Copy, Debug, Serialize)]
#[non_exhaustive]
pub struct Rule {
    /// The stable name.
    pub code: &'static str,
    /// How bad a finding is, unless the size of the table says otherwise.
    pub severity: Severity,
    /// Whether it matters only on a table with many rows.
    #[serde(skip)]
    pub by_size: bool,
    /// What is wrong, in one sentence.
    pub summary: &'static str,
    /// What to do instead.
    pub recipe: &'static str,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// For information.
    Note,
    /// Worth a look.
    Warning,
    /// `lint` fails.
    Error,
}

impl Severity {
    /// SARIF's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
