//! The parts of a plan.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::migrate::effect::lock_mode::LockMode;
use crate::migrate::event::milliseconds;
use crate::migrate::metadata::Phase;

/// A migration that the next run would apply.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PlannedMigration {
    /// The version as recorded.
    pub version: String,
    /// The rest of the directory's name.
    pub name: String,
    /// The directory.
    pub path: PathBuf,
    /// The checksum of `up.sql`, which ignores line ends and blanks at the end of a line.
    pub sha256: String,
    /// Whether it runs before or after a deploy, if it says so.
    pub phase: Option<Phase>,
    /// Whether it runs in one transaction, together with its record.
    pub transaction: bool,
    /// Its statements in order.
    pub statements: Vec<PlannedStatement>,
}

/// One statement of a migration.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PlannedStatement {
    /// The line in `up.sql`, from 1.
    pub line: usize,
    /// The text in one line, cut short.
    pub statement: String,
    /// Whether it runs in the migration's transaction, which then holds its locks until the end.
    pub transaction: bool,
    /// The strongest lock on a relation.
    pub lock_mode: Option<LockMode>,
    /// Whether the server rewrites a relation.
    pub rewrite: bool,
    /// Whether the server scans a relation from end to end.
    pub scan: bool,
    /// Whether it runs code that its text does not show, so that there may be more locks.
    pub opaque: bool,
    /// The relations that it locks.
    pub relations: Vec<PlannedRelation>,
    /// The result of the rehearsal. `None` if it was not rehearsed.
    pub rehearsed: Option<Rehearsed>,
}

/// What a statement did before it was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rehearsed {
    /// How long it took, including the wait for locks.
    #[serde(rename = "elapsed_ms", serialize_with = "milliseconds")]
    pub elapsed: Duration,
    /// The relations that it locked, or locked more strongly than the statements before it.
    pub locks: Vec<RehearsedLock>,
}

/// A lock that the server showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RehearsedLock {
    /// Schema and name, quoted where necessary.
    pub relation: String,
    /// The strongest lock.
    pub lock_mode: LockMode,
}

/// A relation that a statement locks.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PlannedRelation {
    /// Schema and name, quoted where necessary; if it does not exist yet, as the statement names
    /// it.
    pub relation: String,
    /// How strongly it is locked.
    pub lock_mode: LockMode,
    /// Whether it exists. A pending migration may create it first.
    pub exists: bool,
    /// The size with indexes, as VACUUM or ANALYZE last counted it.
    pub size_bytes: Option<i64>,
    /// About how many rows it has. `None` if nothing was counted yet.
    pub rows: Option<i64>,
    /// Whether the server rewrites it.
    pub rewrite: bool,
    /// Whether the server scans it from end to end.
    pub scan: bool,
}

/// A statement in one line, cut short.
pub(super) fn shortened(sql: &str) -> String {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

const LONGEST: usize = 100;
