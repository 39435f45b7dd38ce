//! The migrator's reports about migrations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::migrate::checksum::checksum;
use crate::migrate::destructive::is_destructive;
use crate::migrate::error::MigrateError;
use crate::migrate::event::{milliseconds, optional_milliseconds};
use crate::migrate::metadata::Phase;
use crate::migrate::notes::Notes;
use crate::migrate::source::Migration;

/// One migration, as the source and the server know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MigrationStatus {
    /// The recorded version: the part of the directory name before `_`, without `-`.
    pub version: String,
    /// The rest of the directory name. Empty if only the server knows the version.
    pub name: String,
    /// Its state.
    pub state: MigrationState,
    /// When it was applied, in UTC, as recorded.
    pub applied_at: Option<String>,
    /// Whether its `up.sql` is the one that was applied. `None` if it is not applied.
    pub checksum: Option<ChecksumState>,
    /// Whether it runs before or after a deploy, if it says so.
    pub phase: Option<Phase>,
    /// Whether it runs in a transaction. `None` if only the server knows the version.
    pub run_in_transaction: Option<bool>,
    /// How long it took to apply, including the wait for locks. `None` if another tool applied it.
    #[serde(rename = "duration_ms", serialize_with = "optional_milliseconds")]
    pub duration: Option<Duration>,
    /// Whether its `up.sql` drops tables, columns or schemas, or deletes rows, which `down.sql` cannot bring
    /// back. The check does not look into `DO` blocks. `None` if only the server knows the version.
    pub destructive: Option<bool>,
}

/// What the checksum of an applied migration shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChecksumState {
    /// The file is the one that was applied.
    Same,
    /// The file was edited after it was applied.
    Edited,
    /// Unknown: another tool applied it, or the source lacks its files.
    Unknown,
}

impl ChecksumState {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Edited => "edited",
            Self::Unknown => "unknown",
        }
    }
}

/// The state of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MigrationState {
    /// Applied, and present in the source.
    Applied,
    /// The next run applies it.
    Pending,
    /// Pending, but older than an applied migration. The next run refuses it, unless the caller allows it.
    OutOfOrder,
    /// Some of its statements have run. It runs outside a transaction and was interrupted; the next run
    /// continues after them.
    Unfinished,
    /// Applied, but somebody has edited its `up.sql` since. Nothing runs until the file is restored or the
    /// edit accepted. Migrations that another tool has applied never have this state.
    Drifted,
    /// Applied, but not in the source: an older checkout, or a deleted file.
    Missing,
}

impl MigrationState {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::OutOfOrder => "out-of-order",
            Self::Unfinished => "unfinished",
            Self::Drifted => "drifted",
            Self::Missing => "missing",
        }
    }

    /// Whether the next run would apply it, or refuse to.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Pending | Self::OutOfOrder | Self::Unfinished)
    }
}

/// A migration that a command applied or reverted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FinishedMigration {
    /// The version as recorded.
    pub version: String,
    /// The rest of the directory's name.
    pub name: String,
    /// How long it took, including the wait for locks.
    #[serde(rename = "elapsed_ms", serialize_with = "milliseconds")]
    pub elapsed: Duration,
}

/// Compares the migrations of the source with the server's record, by version.
pub(super) fn compare(
    migrations: &[Migration],
    applied: &BTreeMap<String, String>,
    notes: &Notes,
) -> Vec<MigrationStatus> {
    let edited: BTreeSet<&str> = drifted(migrations, notes)
        .map(|migration| migration.version.as_str())
        .collect();
    let newest = applied.keys().next_back();
    let known: BTreeMap<&str, &Migration> = migrations
        .iter()
        .map(|migration| (migration.version.as_str(), migration))
        .collect();
    let versions: BTreeSet<&str> = known
        .keys()
        .copied()
        .chain(applied.keys().map(String::as_str))
        .collect();
    let status = versions.into_iter().map(|version| {
        let migration = known.get(version);
        let state = match (migration.is_some(), applied.contains_key(version)) {
            (true, true) if edited.contains(version) => MigrationState::Drifted,
            (true, true) => MigrationState::Applied,
            (false, _) => MigrationState::Missing,
            (true, false) if notes.unfinished.contains_key(version) => MigrationState::Unfinished,
            (true, false) if newest.is_some_and(|newest| version < newest.as_str()) => {
                MigrationState::OutOfOrder
            }
            (true, false) => MigrationState::Pending,
        };
        let checksum = match state {
            MigrationState::Drifted => ChecksumState::Edited,
            MigrationState::Applied if notes.checksums.contains_key(version) => ChecksumState::Same,
            _ => ChecksumState::Unknown,
        };
        MigrationStatus {
            version: version.to_owned(),
            name: migration.map_or_else(String::new, |m| m.name.clone()),
            state,
            applied_at: applied.get(version).cloned(),
            checksum: applied.contains_key(version).then_some(checksum),
            phase: migration.and_then(|m| m.phase),
            run_in_transaction: migration.map(|m| m.run_in_transaction),
            duration: notes.durations.get(version).copied(),
            destructive: migration.map(|m| is_destructive(&m.up)),
        }
    });
    status.collect()
}

/// The migrations that are known to have been edited after they were applied.
pub(super) fn drifted<'a>(
    migrations: &'a [Migration],
    notes: &Notes,
) -> impl Iterator<Item = &'a Migration> {
    migrations.iter().filter(|migration| {
        let applied = notes.checksums.get(&migration.version);
        applied.is_some_and(|applied| *applied != checksum(&migration.up))
    })
}

/// Fails if `edited`, versions and names, is not empty.
pub(super) fn refuse_drift<'a>(
    mut edited: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<(), MigrateError> {
    match edited.next() {
        None => Ok(()),
        Some((version, name)) => Err(MigrateError::Drifted {
            version: version.clone(),
            migration: format!("{version}_{name}"),
            others: edited.count(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::source::{EmbeddedMigration, MigrationSource};

    /// case R73
    #[test]
    fn status_tells_applied_pending_out_of_order_and_missing_apart() {
        let source = ["1_a", "2_b", "4_d"].map(|name| EmbeddedMigration::new(name, ""));
        let migrations = MigrationSource::embedded(source).read().unwrap();
        let applied = ["1", "3"].map(|version| (version.to_owned(), "then".to_owned()));
        let status = compare(&migrations, &BTreeMap::from(applied), &Notes::default());
        let states: Vec<_> = status
            .iter()
            .map(|m| (m.version.as_str(), m.state))
            .collect();
        assert_eq!(
            states,
            [
                ("1", MigrationState::Applied),
                ("2", MigrationState::OutOfOrder),
                ("3", MigrationState::Missing),
                ("4", MigrationState::Pending),
            ]
        );
    }
}
