//! Why nothing could be looked at.

use std::path::PathBuf;

use app_db::MigrateError;

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LintError {
    /// The files of the migrations cannot be read.
    #[error(transparent)]
    Migrations(#[from] MigrateError),
    /// No rule has this name.
    #[error("there is no rule `{name}`{}", nearest.map_or_else(String::new, |rule| format!("; did you mean `{rule}`?")))]
    #[non_exhaustive]
    UnknownRule {
        /// The name as it was given.
        name: String,
        /// The rule with the nearest name.
        nearest: Option<&'static str>,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    #[non_exhaustive]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not understood.
    #[error("{}: {problem}", path.display())]
    #[non_exhaustive]
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// git does not know what has changed.
    #[error("git cannot tell what has changed since {since}: {problem}")]
    #[non_exhaustive]
    Git {
        /// The revision that it was asked about.
        since: String,
        /// What git said.
        problem: String,
    },
}
