//! Why a test has no database.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use app_db::{ConfigError, ConnectError, Error, MigrateError};

/// What is missing, or what has failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TestDatabaseError {
    /// Neither the tested crate nor a folder above has migrations.
    #[error(
        "no folder `migrations` in {} or above it; make one with `dbctl migrate new NAME`, or name another with \
         `TestDatabase::migrated`", from.display()
    )]
    NoMigrations {
        /// Where the search began.
        from: PathBuf,
    },
    /// The project's configuration is wrong.
    #[error("the configuration of the tests is wrong")]
    Config(#[from] ConfigError),
    /// There is no URL of a server, and no PostgreSQL on this machine to start one.
    #[error(
        "DATABASE_URL is not set, and no PostgreSQL to start was found on PATH, by pg_config or in the distributions' \
         folders; set DATABASE_URL, or install PostgreSQL (Debian, Ubuntu: `apt-get install postgresql`), or set \
         APP_DB_TEST_POSTGRES_BIN to the folder of `postgres` and `initdb`"
    )]
    NoPostgres,
    /// PostgreSQL refuses to run as root and no other account was found.
    #[error(
        "running as root, which PostgreSQL refuses, and /etc/passwd has neither `postgres` nor `nobody`"
    )]
    NoAccount,
    /// A file or process operation failed.
    #[error("{doing} failed")]
    Io {
        /// What was being done.
        doing: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// `initdb` ended with an error.
    #[error("{program} ended with {status}: {output}")]
    Program {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// The private server did not come up.
    #[error("the private PostgreSQL did not start; its log:\n{log}")]
    Start {
        /// The server's log.
        log: String,
    },
    /// The server cannot be reached, or refuses the login.
    #[error("the server for test databases cannot be used")]
    Connect(#[from] ConnectError),
    /// The server refused to make or to drop a database.
    #[error("the server for test databases refused `{doing}`")]
    Server {
        /// The statement.
        doing: String,
        /// The server's answer.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A migration failed.
    #[error("the migrations of the tests failed")]
    Migrate(#[from] MigrateError),
    /// The database was made, and cannot be connected to.
    #[error("the database of the test cannot be used")]
    Database(#[from] Error),
}

/// The text with its causes, because `unwrap` prints `Debug` for an error.
impl fmt::Debug for TestDatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Names the operation that an [`io::Error`] belongs to.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, TestDatabaseError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, TestDatabaseError> {
        self.map_err(|source| TestDatabaseError::Io {
            doing: what(),
            source,
        })
    }
}
