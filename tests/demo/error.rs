//! Why the demo could not be run to its end.

use std::io;
use std::process::ExitStatus;

use app_db::{ConfigError, MigrateError};
use harness::HarnessError;

/// What went wrong outside the requests. Failed requests are only counted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("{doing} failed")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
    #[error("the servers failed")]
    Servers(#[from] HarnessError),
    #[error("the direct URL is of no use")]
    Url(#[from] ConfigError),
    #[error("the migrations failed")]
    Migrate(#[from] MigrateError),
    #[error("the books could not be read")]
    Books(#[from] tokio_postgres::Error),
    #[error("the ledger did not start; the end of its log:\n{log}")]
    Start { log: String },
    #[error("the ledger did not do what was asked: {request}: {answer}")]
    Answer { request: String, answer: String },
    #[error("the ledger could not be asked")]
    Http(#[from] reqwest::Error),
    #[error("after {seconds} s the ledger still has connections with the old password: {status}")]
    Rotation { seconds: u64, status: String },
    #[error("the ledger ended with {status} and not with code 0; the end of its log:\n{log}")]
    Ended { status: ExitStatus, log: String },
    #[error("the ledger did not end within {seconds} s of SIGTERM")]
    Overdue { seconds: u64 },
    #[error("one side of the comparison could not be set up")]
    Side(#[from] Box<dyn std::error::Error + Send + Sync>),
    #[error("a task of the load ended early")]
    Task(#[from] tokio::task::JoinError),
}

/// Names the operation that an [`io::Error`] belongs to.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, DemoError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, DemoError> {
        self.map_err(|source| DemoError::Io {
            doing: what(),
            source,
        })
    }
}
