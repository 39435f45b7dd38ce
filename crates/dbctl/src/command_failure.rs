//! Why a command failed.

use std::error::Error;
use std::fmt;

use app_db::{ConfigError, Kind, MigrateError};
use db_lint::LintError;

use crate::exit::Exit;

/// Why a command failed, and with which exit code.
#[derive(Debug)]
pub(crate) struct CommandFailure {
    exit: Exit,
    error: Box<dyn Error>,
}

impl CommandFailure {
    pub(crate) fn new(exit: Exit, error: impl Into<Box<dyn Error>>) -> Self {
        Self {
            exit,
            error: error.into(),
        }
    }

    pub(crate) fn interrupted(signal: &str) -> Self {
        Self::new(Exit::Interrupted, format!("interrupted by {signal}"))
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for CommandFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.error))
    }
}

/// An error and its causes in one line. A text that two of them share is written once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut written = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors repeat the text of their cause, and tokio-postgres says "db error".
        if !written.ends_with(&text) && text != "db error" {
            written = format!("{written}: {text}");
        }
        cause = error.source();
    }
    written
}

impl From<ConfigError> for CommandFailure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Configuration, error)
    }
}

impl From<std::io::Error> for CommandFailure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<MigrateError> for CommandFailure {
    fn from(error: MigrateError) -> Self {
        let exit = match &error {
            MigrateError::Config(_)
            | MigrateError::UnknownVersion { .. }
            | MigrateError::AlreadyBeyond { .. }
            | MigrateError::ExpandFirst { .. }
            | MigrateError::BothPhases { .. }
            | MigrateError::NotEmpty { .. } => Exit::Configuration,
            MigrateError::Pooled { .. } => Exit::Pooled,
            MigrateError::OutOfOrder { .. }
            | MigrateError::NotAsPlanned { .. }
            | MigrateError::Drifted { .. }
            | MigrateError::EditedUnfinished { .. } => Exit::OutOfOrder,
            MigrateError::Locked { .. } | MigrateError::StillPending { .. } => Exit::Locked,
            MigrateError::Connect { .. } => Exit::Connection,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<LintError> for CommandFailure {
    fn from(error: LintError) -> Self {
        match error {
            LintError::Migrations(error) => error.into(),
            LintError::Unreadable { .. } => Self::new(Exit::Failed, error),
            _ => Self::new(Exit::Configuration, error),
        }
    }
}

impl From<app_db::Error> for CommandFailure {
    fn from(error: app_db::Error) -> Self {
        let exit = match &error {
            app_db::Error::Config(_) => Exit::Configuration,
            // The source failed, not the server.
            app_db::Error::Credentials(_) => Exit::Failed,
            app_db::Error::Pool(error) if error.connect_error().is_some() => Exit::Connection,
            error => match error.kind() {
                Kind::Configuration => Exit::Configuration,
                Kind::Busy | Kind::Down => Exit::Connection,
                _ => Exit::Failed,
            },
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn a_failure_shows_every_cause_once() {
        let cause = Link {
            text: "relation missing",
            source: None,
        };
        let db = Link {
            text: "db error",
            source: Some(Box::new(cause)),
        };
        let error = Link {
            text: "migration 1 failed",
            source: Some(Box::new(db)),
        };
        assert_eq!(
            CommandFailure::new(Exit::Failed, error).to_string(),
            "migration 1 failed: relation missing"
        );
    }
}
