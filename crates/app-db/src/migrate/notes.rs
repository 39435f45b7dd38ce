//! What the side table says about migrations.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::{Error, Row};

use crate::migrate::source::Migration;

/// The contents of the side table.
#[derive(Default)]
pub(super) struct Notes {
    /// The known checksums of applied versions.
    pub(super) checksums: BTreeMap<String, String>,
    /// The known durations of applied versions.
    pub(super) durations: BTreeMap<String, Duration>,
    /// The versions that are unfinished.
    pub(super) unfinished: BTreeMap<String, Progress>,
    /// The versions that failed and were rolled back as a whole.
    pub(super) failed: BTreeMap<String, Failure>,
}

/// The last failure of a migration.
pub(super) struct Failure {
    /// When it failed, in UTC.
    pub(super) at: String,
    pub(super) sqlstate: Option<String>,
}

/// The migration that a row is about.
#[derive(Clone, Copy)]
pub(super) struct Noted<'a> {
    pub(super) version: &'a str,
    pub(super) name: &'a str,
    /// The checksum of `up.sql`.
    pub(super) checksum: &'a str,
}

/// How far an unfinished migration has come.
pub(super) struct Progress {
    /// How many of its statements have run.
    pub(super) done: usize,
    /// The checksum of the file up to the end of the last of them.
    pub(super) checksum: String,
}

impl<'a> Noted<'a> {
    pub(super) fn of(migration: &'a Migration, checksum: &'a str) -> Self {
        Self {
            version: &migration.version,
            name: &migration.name,
            checksum,
        }
    }
}

impl Notes {
    /// Adds a row of [`SideTable::read`](super::side_table::SideTable::read).
    pub(super) fn with(mut self, row: &Row) -> Result<Self, Error> {
        let (version, checksum): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let is_applied = row.try_get(3)?;
        match row.try_get::<_, Option<i32>>(2)? {
            Some(done) => {
                let done = usize::try_from(done).unwrap_or_default();
                self.unfinished.insert(version, Progress { done, checksum });
            }
            None if is_applied => {
                let took = row.try_get::<_, Option<i64>>(5)?;
                if let Some(took) = took.and_then(|took| u64::try_from(took).ok()) {
                    self.durations
                        .insert(version.clone(), Duration::from_millis(took));
                }
                self.checksums.insert(version, checksum);
            }
            None => {
                if row.try_get(7)? {
                    let (at, sqlstate) = (row.try_get(4)?, row.try_get(6)?);
                    self.failed.insert(version, Failure { at, sqlstate });
                }
            }
        }
        Ok(self)
    }
}
