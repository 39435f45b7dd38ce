//! A failed migration: the statement, its place, and what is left behind.

use std::fmt;
use std::path::PathBuf;

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use crate::migrate::concurrent_index::ConcurrentIndex;
use crate::migrate::count::Count;
use crate::migrate::layout::METADATA;
use crate::migrate::lock_wait::LockWait;
use crate::migrate::remedy::Remedy;
use crate::migrate::retry::Passing;
use crate::migrate::statements::MigrationStatement;

/// The failed statement, its place in the file, and the state that the database is in now.
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedMigration {
    /// The migration's version.
    pub version: String,
    /// The file that holds the statement.
    pub file: PathBuf,
    /// Line in the file, from 1: the line of the error if the server gives a position, and otherwise
    /// the line of the statement.
    pub line: usize,
    /// Column in that line, in characters, from 1.
    pub column: usize,
    /// The SQLSTATE. `None` if the connection was lost.
    pub sqlstate: Option<SqlState>,
    /// What the migration left in the database.
    pub state: LeftBehind,
    /// How many migrations this command had finished before. They stay.
    pub finished_before: usize,
    /// Which lock it waited for, and how often it was tried.
    pub waited: Option<LockWait>,
    /// Whether the statement accepts an existing object, as with `IF NOT EXISTS`.
    accepts_existing: bool,
    /// What to change in the migration, if the error shows it.
    advice: Option<String>,
    source: tokio_postgres::Error,
}

/// What a failed migration left in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftBehind {
    /// Nothing: its transaction was rolled back.
    Nothing,
    /// The effects of its first statements, because the migration runs outside a transaction.
    #[non_exhaustive]
    Statements {
        /// How many have run.
        done: usize,
        /// Indexes that the failed statement left invalid. A unique one may refuse rows.
        invalid_indexes: Vec<String>,
        /// Whether the next run drops them and builds them again. It does so if the statement names the
        /// index that it creates. Other indexes have to be dropped by hand.
        next_run_drops: bool,
    },
    /// Unknown: the connection was lost during COMMIT.
    Unknown,
}

impl FailedMigration {
    /// Why a retry may succeed, if it may.
    pub(super) fn passing(&self) -> Option<Passing> {
        let error = self.source.as_db_error()?;
        Passing::of(error, self.accepts_existing)
    }

    pub(super) fn new(at: FailedStatement<'_>, state: LeftBehind) -> Self {
        let position = match at.source.as_db_error().and_then(DbError::position) {
            Some(ErrorPosition::Original(position)) => *position as usize,
            _ => 1,
        };
        let offset = at
            .statement
            .sql
            .char_indices()
            .nth(position.saturating_sub(1));
        let offset = at.statement.offset + offset.map_or(0, |(bytes, _)| bytes);
        let (line, column) = line_and_column(at.text, offset);
        let advice = advice(&at);
        let accepts_existing = at.statement.accepts_existing();
        Self {
            version: at.version.to_owned(),
            file: at.file,
            line,
            column,
            sqlstate: at.source.code().cloned(),
            state,
            finished_before: 0,
            waited: None,
            accepts_existing,
            advice,
            source: at.source,
        }
    }
}

/// A failed statement, before the migrator knows what it left behind.
pub(super) struct FailedStatement<'a> {
    pub(super) version: &'a str,
    pub(super) file: PathBuf,
    pub(super) text: &'a str,
    pub(super) statement: MigrationStatement<'a>,
    pub(super) run_in_transaction: bool,
    pub(super) source: tokio_postgres::Error,
}

impl fmt::Display for FailedMigration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            file,
            line,
            column,
            ..
        } = self;
        write!(
            f,
            "migration {version} failed at {}:{line}:{column}",
            file.display()
        )?;
        if let Some(sqlstate) = &self.sqlstate {
            write!(f, " with SQLSTATE {}", sqlstate.code())?;
        }
        match &self.state {
            LeftBehind::Nothing => f.write_str(", and was rolled back")?,
            LeftBehind::Unknown => f.write_str("; whether it was committed is unknown")?,
            LeftBehind::Statements {
                done,
                invalid_indexes,
                next_run_drops,
            } => {
                f.write_str("; it runs outside a transaction and is not recorded")?;
                if *done > 0 {
                    let done = Count(*done, "statement has run", "statements have run");
                    write!(f, ", but {done} before")?;
                }
                if !invalid_indexes.is_empty() {
                    write!(
                        f,
                        ", and invalid indexes are left: {}",
                        invalid_indexes.join(", ")
                    )?;
                    f.write_str(if *next_run_drops {
                        " (the next run drops it first)"
                    } else {
                        " (drop them by hand)"
                    })?;
                }
            }
        }
        if let Some(waited) = &self.waited {
            write!(f, "; {waited}")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "; {advice}")?;
        }
        write!(f, "{}", Remedy(self.sqlstate.as_ref()))?;
        if self.finished_before > 0 {
            let finished = Count(self.finished_before, "migration", "migrations");
            write!(f, "; {finished} before it stay done")?;
        }
        Ok(())
    }
}

impl std::error::Error for FailedMigration {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// What to change in the migration, if the error shows it.
fn advice(at: &FailedStatement<'_>) -> Option<String> {
    let is_partitioned = at.source.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
        && ConcurrentIndex::of(&at.statement).is_some();
    if is_partitioned {
        return Some(PARTITIONED.to_owned());
    }
    // `SET TRANSACTION` after the first query has the same SQLSTATE, but is of no use outside a
    // transaction.
    let needs_none = at.run_in_transaction
        && at.source.code() == Some(&SqlState::ACTIVE_SQL_TRANSACTION)
        && at.statement.verb() != "set";
    let metadata = at.file.with_file_name(METADATA);
    needs_none.then(|| {
        format!(
            "it cannot run in a transaction: put it in a migration of its own, whose {} says \
             `run_in_transaction = false`",
            metadata.display()
        )
    })
}

const PARTITIONED: &str = "an index of a partitioned table cannot be built concurrently: write \
     CREATE INDEX .. ON ONLY it, CREATE INDEX CONCURRENTLY for each partition, each in a migration of its own, and \
     ALTER INDEX .. ATTACH PARTITION";

/// Line and column of a byte offset, both from 1, the column in characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        1 + before.matches('\n').count(),
        1 + before[line_start..].chars().count(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let text = "select 1;\n-- ü\nsélect 2";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find("lect 2").unwrap()), (3, 3));
    }
}
