//! The events of a run, for a caller that follows it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::migrate::lock_wait::Blocker;

/// One event of a run. Serialized, it is one line of `dbctl migrate run --json`; the field `event` names it
/// in lower case.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum MigrationEvent {
    /// A migration begins.
    #[non_exhaustive]
    Started {
        /// The version as recorded.
        version: String,
        /// The rest of the directory's name.
        name: String,
        /// `apply`, `revert` or `redo`.
        action: &'static str,
    },
    /// A statement is about to be sent.
    #[non_exhaustive]
    Statement {
        /// The version as recorded.
        version: String,
        /// Its number within the file, from 1.
        statement: usize,
        /// How many statements the file has.
        of: usize,
        /// The line of the file on which it begins, from 1.
        line: usize,
    },
    /// A statement waits for a lock, which another session has.
    #[non_exhaustive]
    Waiting {
        /// The table, or the kind of lock.
        on: Option<String>,
        /// The sessions that hold the lock.
        blockers: Vec<Blocker>,
        /// How many other sessions queue behind the migration.
        queued: usize,
    },
    /// An index build has reached its next phase.
    #[non_exhaustive]
    Building {
        /// The phase, in the words of `pg_stat_progress_create_index`.
        phase: String,
        /// How many blocks of the table this phase has read.
        blocks_done: i64,
        /// How many blocks there are. 0 if the phase reads none.
        blocks_total: i64,
        /// The process with an old snapshot or transaction that the build waits for.
        waits_for: Option<i32>,
    },
    /// A statement failed for a passing reason. The migrator retries after a delay.
    #[non_exhaustive]
    Retried {
        /// The version as recorded.
        version: String,
        /// How often it has been tried.
        attempt: u32,
        /// The SQLSTATE of the failure.
        sqlstate: Option<String>,
        /// How long it waits before the next attempt.
        #[serde(rename = "delay_ms", serialize_with = "milliseconds")]
        delay: Duration,
    },
    /// A migration is done and recorded.
    #[non_exhaustive]
    Finished {
        /// The version as recorded.
        version: String,
        /// The rest of the directory's name.
        name: String,
        /// `apply`, `revert` or `redo`.
        action: &'static str,
        /// How long it took, including the wait for locks.
        #[serde(rename = "elapsed_ms", serialize_with = "milliseconds")]
        elapsed: Duration,
    },
    /// A migration has failed, and none is run after it.
    #[non_exhaustive]
    Failed {
        /// The version as recorded.
        version: String,
        /// The file with the statement, if a statement failed.
        file: Option<PathBuf>,
        /// The line of the failure, from 1.
        line: Option<usize>,
        /// The column in that line, in characters, from 1.
        column: Option<usize>,
        /// The SQLSTATE, if the server sent one.
        sqlstate: Option<String>,
        /// What happened, in words.
        message: String,
    },
}

/// The caller's function that receives events.
#[derive(Clone, Default)]
pub(super) struct Listener(Option<Arc<Listen>>);

type Listen = dyn Fn(&MigrationEvent) + Send + Sync;

impl Listener {
    pub(super) fn new(listen: impl Fn(&MigrationEvent) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listen)))
    }

    /// Passes on an event, which is only made if somebody listens.
    pub(super) fn tell(&self, event: impl FnOnce() -> MigrationEvent) {
        if let Some(listen) = &self.0 {
            listen(&event());
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.0.is_some()).finish()
    }
}

pub(super) fn milliseconds<S: Serializer>(
    elapsed: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn optional_milliseconds<S: Serializer>(
    elapsed: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match elapsed {
        Some(elapsed) => milliseconds(elapsed, serializer),
        None => serializer.serialize_none(),
    }
}
