//! How a command ends.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use app_db::{ConfigError, MigrateError};

use crate::output;

/// The exit codes; scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The command failed, or the doctor found a problem.
    Failed = 1,
    /// The arguments or the configuration are wrong.
    Configuration = 2,
    /// `migrate status --check` found pending migrations.
    Pending = 3,
    /// The direct URL leads to a pooler.
    Pooled = 4,
    /// A pending migration is older than an applied one.
    OutOfOrder = 5,
    /// Another migrator held the lock for too long.
    Locked = 7,
    /// No connection to the server.
    Connection = 8,
    /// SIGINT or SIGTERM.
    Interrupted = 130,
}

/// The same for `--help`.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0    done
  1    failed: a migration, a query, a file; or the doctor found a problem
  2    wrong arguments or configuration
  3    migrations are pending (migrate status --check)
  4    the direct URL leads to a pooler
  5    a pending migration is older than an applied one
  7    another migrator held the lock for too long
  8    no connection to the server
  130  interrupted by a signal";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, and with which exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: Box<dyn Error>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<Box<dyn Error>>) -> Self {
        Self {
            exit,
            error: error.into(),
        }
    }

    pub(crate) fn interrupted(signal: &str) -> Self {
        Self::new(Exit::Interrupted, format!("interrupted by {signal}"))
    }

    /// Writes the error and its causes as one message.
    pub(crate) fn report(&self) -> ExitCode {
        output::progress(format_args!("error: {self}"));
        self.exit.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.error))
    }
}

/// An error and its causes in one line, each text once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut written = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors show their cause's text as their own, and tokio-postgres says "db error".
        if !written.ends_with(&text) && text != "db error" {
            written = format!("{written}: {text}");
        }
        cause = error.source();
    }
    written
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Configuration, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        let exit = match &error {
            MigrateError::Config(_) => Exit::Configuration,
            MigrateError::Pooled { .. } => Exit::Pooled,
            MigrateError::OutOfOrder { .. } => Exit::OutOfOrder,
            MigrateError::Locked { .. } => Exit::Locked,
            MigrateError::Connect { .. } => Exit::Connection,
            _ => Exit::Failed,
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
            Failure::new(Exit::Failed, error).to_string(),
            "migration 1 failed: relation missing"
        );
    }

    #[test]
    fn help_lists_every_exit_code() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Configuration,
            Exit::Pending,
            Exit::Pooled,
            Exit::OutOfOrder,
            Exit::Locked,
            Exit::Connection,
            Exit::Interrupted,
        ] {
            assert!(
                EXIT_CODES.contains(&format!("\n  {} ", exit as u8)),
                "{exit:?}"
            );
        }
    }
}
