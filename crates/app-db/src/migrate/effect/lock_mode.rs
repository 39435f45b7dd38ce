//! The strength of a table lock.

use std::fmt;

use serde::{Serialize, Serializer};

/// The strength of a table lock, from weak to strong, with the names of `pg_locks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::exhaustive_enums,
    reason = "PostgreSQL has had these eight modes for twenty years"
)]
pub enum LockMode {
    /// A read.
    AccessShare,
    /// `SELECT FOR UPDATE`, and the check of a foreign key in the other table.
    RowShare,
    /// A write.
    RowExclusive,
    /// `VACUUM`, `CREATE INDEX CONCURRENTLY`, `VALIDATE CONSTRAINT`. It lets reads and writes through.
    ShareUpdateExclusive,
    /// `CREATE INDEX`. Writes wait.
    Share,
    /// `CREATE TRIGGER`, `ADD FOREIGN KEY`. Writes wait.
    ShareRowExclusive,
    /// `REFRESH MATERIALIZED VIEW CONCURRENTLY`. Writes wait.
    Exclusive,
    /// Most of `ALTER TABLE`, `DROP`, `TRUNCATE`. Reads wait too.
    AccessExclusive,
}

impl LockMode {
    /// The mode of a name in `pg_locks`.
    pub(in crate::migrate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }

    const ALL: [Self; 8] = [
        Self::AccessShare,
        Self::RowShare,
        Self::RowExclusive,
        Self::ShareUpdateExclusive,
        Self::Share,
        Self::ShareRowExclusive,
        Self::Exclusive,
        Self::AccessExclusive,
    ];

    /// The name in `pg_locks`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessShare => "AccessShareLock",
            Self::RowShare => "RowShareLock",
            Self::RowExclusive => "RowExclusiveLock",
            Self::ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            Self::Share => "ShareLock",
            Self::ShareRowExclusive => "ShareRowExclusiveLock",
            Self::Exclusive => "ExclusiveLock",
            Self::AccessExclusive => "AccessExclusiveLock",
        }
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for LockMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
