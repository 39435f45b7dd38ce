//! How large the tables are that a statement locks.

use std::path::Path;

use app_db::PlannedMigration;

use crate::finding::Finding;
use crate::rules::{Rule, Severity};

/// What the live catalogue says about the tables of pending migrations.
#[derive(Clone, Debug, Default)]
pub struct Sizes(Vec<PlannedMigration>);

impl Sizes {
    /// Takes the sizes from the plan of a run.
    #[must_use]
    pub fn of(plan: Vec<PlannedMigration>) -> Self {
        Self(plan)
    }

    /// Turns a finding about a small table into a warning, and always says how large the table is.
    pub(crate) fn weigh(&self, finding: &mut Finding, rule: &Rule) {
        if !rule.by_size {
            return;
        }
        let Some((relation, rows)) = self.largest(&finding.path, finding.statement_line) else {
            return;
        };
        if rows < FEW_ROWS && finding.severity == Severity::Error {
            finding.severity = Severity::Warning;
        }
        finding.message = format!("{} ({relation} has about {rows} rows)", finding.message);
    }

    fn largest(&self, file: &Path, line: Option<usize>) -> Option<(&str, i64)> {
        let directory = file.parent()?.file_name()?;
        let of_file = self
            .0
            .iter()
            .filter(|m| m.path.file_name() == Some(directory));
        let statements = of_file.flat_map(|migration| &migration.statements);
        let relations = statements
            .filter(|statement| Some(statement.line) == line)
            .flat_map(|statement| &statement.relations);
        let known = relations.filter_map(|found| Some((found.relation.as_str(), found.rows?)));
        known.max_by_key(|(_, rows)| *rows)
    }
}

/// A table with fewer rows is scanned or rewritten before anybody notices.
const FEW_ROWS: i64 = 10_000;
