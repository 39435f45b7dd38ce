//! One file of a migration, and how to record that it has run.

use std::path::PathBuf;

use tokio_postgres::Error;

use crate::migrate::checksum::checksum;
use crate::migrate::error::MigrateError;
use crate::migrate::event::MigrationEvent;
use crate::migrate::failed_migration::{
    FailedMigration, FailedStatement, LeftBehind, line_and_column,
};
use crate::migrate::layout::{DOWN, UP};
use crate::migrate::migrator_session::MigratorSession;
use crate::migrate::notes::{Noted, Progress};
use crate::migrate::settings::MigrationSettings;
use crate::migrate::source::Migration;
use crate::migrate::statements::{MigrationStatement, mentions, split};

/// One file to run, and how to record it.
pub(super) struct Step<'a> {
    migration: &'a Migration,
    file: PathBuf,
    text: &'a str,
    /// Whether it is `up.sql`.
    is_up: bool,
    /// The checksum of `up.sql`.
    checksum: String,
    /// The statement that records it.
    pub(super) record: String,
}

impl<'a> Step<'a> {
    pub(super) fn up(migration: &'a Migration, session: &MigratorSession) -> Self {
        let checksum = checksum(&migration.up);
        let note = session
            .side_table
            .note(Noted::of(migration, &checksum), "applied");
        Self {
            migration,
            file: migration.path.join(UP),
            text: &migration.up,
            is_up: true,
            record: format!("{}; {note}", session.history.insert(&migration.version)),
            checksum,
        }
    }

    pub(super) fn down(migration: &'a Migration, down: &'a str, session: &MigratorSession) -> Self {
        Self {
            migration,
            file: migration.path.join(DOWN),
            text: down,
            is_up: false,
            record: format!(
                "{}; {}",
                session.history.delete(&migration.version),
                session.side_table.reverted(&migration.version)
            ),
            checksum: checksum(&migration.up),
        }
    }

    pub(super) fn statements(&self) -> Vec<MigrationStatement<'a>> {
        split(self.text)
    }

    /// Whether a run can continue in the middle: not in `down.sql`, and not in a file with its own
    /// transactions, which may have been rolled back.
    pub(super) fn is_resumable(&self) -> bool {
        let statements = self.statements();
        self.is_up
            && !statements
                .iter()
                .any(MigrationStatement::controls_transaction)
    }

    /// Whether it is `up.sql`.
    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    pub(super) fn version(&self) -> &'a str {
        &self.migration.version
    }

    /// The part of its row that does not depend on the outcome.
    pub(super) fn noted(&self) -> Noted<'_> {
        Noted::of(self.migration, &self.checksum)
    }

    /// The progress after its first `done` statements.
    pub(super) fn progress(&self, done: usize) -> Progress {
        let statements = self.statements();
        let last = done.checked_sub(1).and_then(|last| statements.get(last));
        let end = last.map_or(0, |last| last.offset + last.sql.len());
        Progress {
            done,
            checksum: checksum(&self.text[..end]),
        }
    }

    /// The event for the begin of a statement after `done` others.
    pub(super) fn event(&self, done: usize, statement: &MigrationStatement<'_>) -> MigrationEvent {
        MigrationEvent::Statement {
            version: self.migration.version.clone(),
            statement: done + 1,
            of: self.statements().len(),
            line: line_and_column(self.text, statement.offset).0,
        }
    }

    /// The empty statement after the last one: a failed COMMIT is reported there.
    pub(super) fn end(&self) -> MigrationStatement<'a> {
        MigrationStatement::end_of(self.text)
    }

    /// `<version>_<name>`, for messages.
    pub(super) fn title(&self) -> String {
        self.migration.title()
    }

    /// Refuses a file that the server cannot run, that would end the migrator's transaction halfway, or that
    /// does nothing.
    pub(super) fn check(&self, allow_empty: bool) -> Result<(), MigrateError> {
        let statements = self.statements();
        if statements.is_empty() && !allow_empty {
            return Err(self.refused(
                "has no statement, so it would be recorded without doing anything: write one, \
                 delete the file, or allow it with `--allow-empty` (`Migrator::allow_empty`)",
            ));
        }
        for statement in &statements {
            let (line, _) = line_and_column(self.text, statement.offset);
            if let Some(named) = &statement.only_for_psql {
                return Err(self.refused(format!(
                    "contains {named} in line {line}, which only psql can run: write the rows as \
                     INSERT, or the statement without psql"
                )));
            }
            if self.migration.run_in_transaction && statement.controls_transaction() {
                return Err(self.refused(format!(
                    "contains `{}` in line {line}, but runs in a transaction of the migrator's: \
                     remove it, or set `run_in_transaction = false` in metadata.toml",
                    statement.sql
                )));
            }
        }
        Ok(())
    }

    fn refused(&self, problem: impl Into<String>) -> MigrateError {
        MigrateError::source(&self.file, problem)
    }

    /// The names of the timeouts that the file itself sets.
    pub(super) fn own_timeouts(&self) -> Vec<&'static str> {
        let mut names = vec!["lock_timeout", "statement_timeout"];
        names.retain(|name| mentions(self.text, name));
        names
    }

    /// Whether it only validates constraints: then nobody waits for it, however long it takes.
    fn only_validates(&self) -> bool {
        let statements = self.statements();
        let validates = |statement: &MigrationStatement<'_>| {
            statement.verb() == "alter" && mentions(statement.sql, "validate")
        };
        !statements.is_empty() && statements.iter().all(validates)
    }

    /// The `SET` statements for both timeouts, as `metadata.toml` or else the settings have them, except for a
    /// timeout that the file itself sets.
    pub(super) fn timeouts(&self, scope: &str, settings: &MigrationSettings) -> String {
        let own = self.migration.limits;
        let set_by_file = self.own_timeouts();
        let statement_timeout = if self.only_validates() {
            None
        } else {
            settings.statement_timeout
        };
        [
            ("lock_timeout", own.lock_timeout, settings.lock_timeout),
            (
                "statement_timeout",
                own.statement_timeout,
                statement_timeout,
            ),
        ]
        .into_iter()
        .filter(|(name, _, _)| !set_by_file.contains(name))
        .map(|(name, own, configured)| {
            let limit = own.map_or(configured, |own| own.0);
            format!(
                "{scope} {name} = {};",
                limit.unwrap_or_default().as_millis()
            )
        })
        .collect()
    }

    pub(super) fn failed(
        &self,
        statement: MigrationStatement<'_>,
        source: Error,
        left: LeftBehind,
    ) -> FailedMigration {
        let failure = FailedStatement {
            version: &self.migration.version,
            file: self.file.clone(),
            text: self.text,
            statement,
            run_in_transaction: self.migration.run_in_transaction,
            source,
        };
        FailedMigration::new(failure, left)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::migrate::source::{EmbeddedMigration, MigrationSource};

    fn migration(text: &str) -> Migration {
        let migration = EmbeddedMigration::new("1_a", text.to_owned());
        let mut loaded = MigrationSource::embedded([migration]).read().unwrap();
        loaded.remove(0)
    }

    fn step(migration: &Migration) -> Step<'_> {
        Step {
            migration,
            file: migration.path.join(UP),
            text: &migration.up,
            is_up: true,
            checksum: String::new(),
            record: String::new(),
        }
    }

    fn refusal(text: &str) -> String {
        let migration = migration(text);
        step(&migration).check(false).unwrap_err().to_string()
    }

    #[test]
    fn transaction_control_in_a_transactional_migration_is_refused() {
        let text = refusal("create table t();\nCOMMIT;");
        assert!(
            text.contains("1_a/up.sql contains `COMMIT` in line 2"),
            "{text}"
        );
        let body = migration("do $$ begin commit; end $$");
        step(&body).check(false).unwrap();
    }

    #[test]
    fn a_file_without_a_statement_is_refused_unless_it_is_allowed() {
        for text in [
            "",
            " \n",
            ";;",
            "-- later",
            "/* all; of; it */",
            "\\restrict a\n",
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains("--allow-empty"), "{text:?}: {refusal}");
            step(&migration(text)).check(true).unwrap();
        }
        step(&migration("/* not closed")).check(false).unwrap();
    }

    #[test]
    fn what_only_psql_can_run_is_refused_with_its_line() {
        let text = refusal("select 1;\n\n\\set a 1\n");
        assert!(
            text.contains("`\\set`, a command of psql, in line 3"),
            "{text}"
        );
        let text = refusal("create table t(a int);\nCOPY t FROM stdin;\n1\n\\.\n");
        assert!(text.contains("`COPY .. FROM stdin` in line 2"), "{text}");
    }

    #[test]
    fn a_timeout_set_by_the_file_is_left_alone() {
        let mut settings = MigrationSettings::built_in();
        settings.lock_timeout = Some(Duration::from_secs(2));
        settings.statement_timeout = None;
        assert_eq!(
            step(&migration("select 1")).timeouts("SET", &settings),
            "SET lock_timeout = 2000;SET statement_timeout = 0;"
        );
        assert_eq!(
            step(&migration("SET LOCAL lock_timeout = 1")).timeouts("SET", &settings),
            "SET statement_timeout = 0;"
        );
    }

    #[test]
    fn a_migration_that_only_validates_may_take_its_time() {
        let settings = MigrationSettings::built_in();
        let timeout = |text: &str| step(&migration(text)).timeouts("SET", &settings);
        let validate = "alter table a validate constraint b";
        assert!(timeout(validate).contains("SET statement_timeout = 0;"));
        let with_more = format!("{validate}; alter table a add column c int");
        assert!(timeout(&with_more).contains("SET statement_timeout = 900000;"));
        let own = format!("{validate}; set statement_timeout = '1h'");
        assert!(!timeout(&own).contains("statement_timeout"));
    }
}
