//! What was found.

use crate::finding::Finding;
use crate::rules::Severity;

/// Everything that was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// By file and line.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings make `lint` fail.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.is_error())
            .count()
    }

    /// How many findings are only warnings.
    #[must_use]
    pub fn warnings(&self) -> usize {
        let warns = |finding: &&Finding| {
            finding.severity == Severity::Warning && finding.suppressed.is_none()
        };
        self.findings.iter().filter(warns).count()
    }

    /// The findings that nothing allows.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.suppressed.is_none())
    }
}
