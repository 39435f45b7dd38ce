//! How a report is written down.

use std::str::FromStr;

use crate::formats::{github, gitlab, json, sarif, text};
use crate::report::Report;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One line for each finding, and one for what to do.
    Text,
    /// JSON of our own.
    Json,
    /// Annotations of GitHub's runner.
    Github,
    /// GitLab's code quality report.
    Gitlab,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "github" => Ok(Self::Github),
            "gitlab" => Ok(Self::Gitlab),
            "sarif" => Ok(Self::Sarif),
            _ => Err("expected text, json, github, gitlab or sarif"),
        }
    }
}

impl Format {
    /// A report as text, without a line break at the end. Empty if there is nothing to say in this format.
    #[must_use]
    pub fn render(self, report: &Report) -> String {
        match self {
            Self::Text => text::render(report),
            Self::Json => json::render(report),
            Self::Github => github::render(report),
            Self::Gitlab => gitlab::render(report),
            Self::Sarif => sarif::render(report),
        }
    }
}
