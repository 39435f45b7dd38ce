//! The errors between asking for a connection and holding one.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use db_config::ConfigError;
use tokio_postgres::error::SqlState;

use crate::causes::with_causes;
use crate::checkout::diagnosis::Diagnosis;
use crate::connect::connect_error::ConnectError;
use crate::rate_limit::RateLimited;
use crate::status::Status;

/// The kind of an error, which tells the caller what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The configuration, the credentials or the certificates are wrong; waiting does not help.
    Configuration,
    /// The statement or the caller's own work failed.
    Query,
    /// Every connection is in use; try later or shed load.
    Busy,
    /// The server cannot be reached, or refuses connections for now.
    Down,
    /// Transactions kept conflicting until the attempts were used up.
    Conflict,
    /// The connection was lost while COMMIT was on its way. The work may or may not be committed.
    OutcomeUnknown,
    /// The transaction is committed, although its work failed afterwards. Running it again would do it twice.
    Committed,
    /// The pool is closing or closed.
    ShuttingDown,
}

/// Why a pool handed out no connection.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The configuration does not describe a pool.
    #[error("pool `{pool}` cannot be configured")]
    Config {
        /// The pool's name.
        pool: Arc<str>,
        /// Every problem found.
        #[source]
        source: Arc<ConfigError>,
    },
    /// No connection within the checkout timeout.
    #[error(
        "pool `{pool}` had no connection within {waited:?} ({status}): {diagnosis}{}",
        if .last_failure.is_some() { "; the last attempt to connect failed" } else { "" }
    )]
    Timeout {
        /// The pool's name.
        pool: Arc<str>,
        /// How long the caller waited.
        waited: Duration,
        /// The pool at the moment of giving up.
        status: Box<Status>,
        /// The connection that has been held longest: for how long, and where it was asked for.
        longest_held: Option<(Duration, &'static Location<'static>)>,
        /// Why there was no connection.
        diagnosis: Box<Diagnosis>,
        /// The most recent failure to connect since the pool last succeeded.
        #[source]
        last_failure: Option<ConnectError>,
    },
    /// Too many callers are waiting already.
    #[error("pool `{pool}` already has {waiting} callers waiting, and max_waiting allows no more")]
    QueueFull {
        /// The pool's name.
        pool: Arc<str>,
        /// How many wait.
        waiting: u32,
    },
    /// Every connection is in use, and the caller did not want to wait.
    #[error("pool `{pool}` has no connection free ({status})")]
    InUse {
        /// The pool's name.
        pool: Arc<str>,
        /// The pool at that moment.
        status: Box<Status>,
    },
    /// The pool cannot have this size.
    #[error("pool `{pool}` cannot be resized to {asked}, expected 1 to the ceiling of {ceiling}")]
    Resize {
        /// The pool's name.
        pool: Arc<str>,
        /// The size that was asked for.
        asked: u32,
        /// The largest that the pool can have: the key `ceiling` of its profile.
        ceiling: u32,
    },
    /// The new settings are wrong, and none of them has changed.
    #[error("the settings of pool `{pool}` stay as they are: {}", .problems.join("; "))]
    Settings {
        /// The pool's name.
        pool: Arc<str>,
        /// Everything that is wrong, each with what was expected.
        problems: Vec<String>,
    },
    /// More callers ask than the pool's `rate_limit` allows.
    #[error("pool `{pool}` is asked for more connections than its rate_limit")]
    RateLimited {
        /// The pool's name.
        pool: Arc<str>,
        /// How many it allows, and when there is room again.
        #[source]
        limited: RateLimited,
    },
    /// No channel can have these names.
    #[error("pool `{pool}` cannot listen to these channels: {problem}")]
    Channels {
        /// The pool's name.
        pool: Arc<str>,
        /// What is wrong with their names, and what was expected.
        problem: String,
    },
    /// A checkout inside work that holds a connection of the same pool, while no other connection was free.
    ///
    /// If every connection's holder did this at once, they would wait for each other for ever. Use the
    /// connection of the work instead, or check out after the work is over.
    #[error(
        "pool `{pool}` has no connection free for {inner}, inside work that holds one since {outer}; \
         use that one, because waiting for another one could deadlock"
    )]
    Nested {
        /// The pool's name.
        pool: Arc<str>,
        /// Where the work's own connection was asked for.
        outer: &'static Location<'static>,
        /// Where another one was asked for.
        inner: &'static Location<'static>,
    },
    /// The pool cannot connect to the server, and waiting does not help.
    #[error("pool `{pool}` cannot connect")]
    Connect {
        /// The pool's name.
        pool: Arc<str>,
        /// Why not.
        #[source]
        source: ConnectError,
    },
    /// New credentials came with a host of another cluster. The pool stays with its present cluster.
    #[error(
        "pool `{pool}` cannot move to {address}: its present connections lead to another cluster"
    )]
    OtherCluster {
        /// The pool's name.
        pool: Arc<str>,
        /// Where it would connect.
        address: String,
    },
    /// The pool is closing or closed.
    #[error("pool `{pool}` is closed")]
    Closed {
        /// The pool's name.
        pool: Arc<str>,
    },
}

/// The error with all its causes in one line, because a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_causes(self))
    }
}

impl PoolError {
    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Config { .. }
            | Self::Resize { .. }
            | Self::Settings { .. }
            | Self::Channels { .. }
            | Self::OtherCluster { .. } => Kind::Configuration,
            Self::Timeout {
                status,
                last_failure: Some(_),
                ..
            } if status.open == 0 => Kind::Down,
            Self::Timeout { diagnosis, .. } if diagnosis.is_silence() => Kind::Down,
            // `Nested` is a defect of the program that shows only under load, and passes with the load.
            Self::Timeout { .. }
            | Self::QueueFull { .. }
            | Self::InUse { .. }
            | Self::RateLimited { .. }
            | Self::Nested { .. } => Kind::Busy,
            Self::Connect { source, .. } if source.is_permanent() => Kind::Configuration,
            Self::Connect { .. } => Kind::Down,
            Self::Closed { .. } => Kind::ShuttingDown,
        }
    }

    /// The failure to connect behind this error, if there is one.
    #[must_use]
    pub fn connect_error(&self) -> Option<&ConnectError> {
        match self {
            Self::Connect { source, .. } => Some(source),
            Self::Timeout { last_failure, .. } => last_failure.as_ref(),
            _ => None,
        }
    }

    /// The server's SQLSTATE, if the server gave one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        self.connect_error()
            .and_then(ConnectError::sqlstate)
            .cloned()
    }
}
