//! The file that most rules are about.

use app_db::Migration;

use crate::finding::Finding;
use crate::outline::Outline;
use crate::rules::Rule;

/// `up.sql` and its statements.
pub(crate) struct UpFile<'a> {
    pub(crate) migration: &'a Migration,
    pub(crate) statements: &'a [Outline<'a>],
}

impl UpFile<'_> {
    /// A finding about one statement.
    pub(crate) fn at(
        &self,
        rule: &'static Rule,
        statement: &Outline<'_>,
        message: impl Into<String>,
    ) -> Finding {
        let path = self.migration.path.join("up.sql");
        let finding = Finding::of_file(rule, path, message);
        finding.at(&self.migration.up, statement.offset, statement.end)
    }
}
