//! What can go wrong while servers are started, stopped and asked.

use std::io;
use std::process::ExitStatus;

/// Why the harness could not do what a test asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// No `postgres` and `initdb` were found on the machine.
    #[error(
        "no PostgreSQL server found on PATH, by pg_config or in the distributions' folders; \
         install one (Debian, Ubuntu: `apt-get install postgresql`; Fedora: `dnf install postgresql-server`; \
         Alpine: `apk add postgresql`; macOS: `brew install postgresql`) \
         or set DB_TESTS_POSTGRES_BIN to the folder of `postgres` and `initdb`"
    )]
    NoPostgres,
    /// PgBouncer was asked for and is not there.
    #[error(
        "no pgbouncer found on PATH or in /usr/sbin; install it (`apt-get install pgbouncer`, `brew install pgbouncer`)"
    )]
    NoBouncer,
    /// PostgreSQL refuses to run as root and no other account was found.
    #[error(
        "running as root, which PostgreSQL refuses, and /etc/passwd has neither `postgres` nor `nobody`"
    )]
    NoAccount,
    /// A server should report in a language for which the machine cannot make a locale.
    #[error(
        "no locale {locale} for the server ({why}); install the sources that `localedef` needs \
         (Debian, Ubuntu: `apt-get install locales`; Fedora: `dnf install glibc-locale-source`)"
    )]
    NoLocale {
        /// The locale that was asked for.
        locale: String,
        /// Why making it failed.
        why: String,
    },
    /// A file or process operation failed.
    #[error("{doing} failed")]
    Io {
        /// What was being done.
        doing: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("{program} ended with {status}: {output}")]
    Program {
        /// The program's name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed on standard error.
        output: String,
    },
    /// A server did not come up; its log says why.
    #[error("{server} did not start ({why}); end of its log:\n{log}")]
    Start {
        /// Which server.
        server: &'static str,
        /// What was seen from outside.
        why: String,
        /// The last lines of its log.
        log: String,
    },
    /// A server did not stop in time.
    #[error("{server} did not stop within {seconds} s")]
    Stop {
        /// Which server.
        server: String,
        /// How long the harness waited.
        seconds: u64,
    },
    /// The cluster belongs to another process and cannot be stopped or reconfigured from here.
    #[error("the cluster is shared between tests; start a private one to {doing}")]
    Shared {
        /// What was asked.
        doing: &'static str,
    },
    /// The server answered a harness query with an error, or could not be reached.
    #[error("query to the test server failed: {0}")]
    Query(#[from] tokio_postgres::Error),
    /// A migration of the repository could not be applied to the template database.
    #[error("migration {name} failed: {source}")]
    Migration {
        /// The migration's folder.
        name: String,
        /// The server's answer.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A query that should return one value returned none.
    #[error("no row from `{0}`")]
    NoRow(String),
    /// A certificate could not be made.
    #[error("making a certificate failed")]
    Certificate(#[from] rcgen::Error),
}

/// Names the operation that an [`io::Error`] belongs to.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, HarnessError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, HarnessError> {
        self.map_err(|source| HarnessError::Io {
            doing: what(),
            source,
        })
    }
}
