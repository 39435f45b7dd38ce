//! Applies every rule to every migration.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use app_db::{Migration, MigrationSource};

use crate::allow;
use crate::checks;
use crate::diesel_schema::schema_rs::SchemaRs;
use crate::error::LintError;
use crate::finding::{Finding, line_and_column};
use crate::outline::outline;
use crate::report::Report;
use crate::rules;
use crate::since::Changes;
use crate::sizes::Sizes;
use crate::squawk;
use crate::squawk_toml::SquawkToml;

/// Applies all rules to migrations.
#[derive(Clone, Debug)]
pub struct Linter {
    directory: PathBuf,
    settings: SquawkToml,
    schema: Option<SchemaRs>,
    changes: Option<Changes>,
    sizes: Sizes,
    /// The names of the only directories to look at.
    only: Option<BTreeSet<OsString>>,
}

impl Linter {
    /// A linter for the migrations in a folder, with the settings of the nearest `.squawk.toml`.
    ///
    /// # Errors
    ///
    /// [`LintError::NotUnderstood`] and [`LintError::Unreadable`] for that file.
    pub fn new(directory: impl Into<PathBuf>) -> Result<Self, LintError> {
        let directory = directory.into();
        Ok(Self {
            settings: SquawkToml::find(Path::new("."))?,
            directory,
            schema: None,
            changes: None,
            sizes: Sizes::default(),
            only: None,
        })
    }

    /// Looks for columns that a migration drops and `schema.rs` still has.
    #[must_use]
    pub fn with_schema(mut self, schema: SchemaRs) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Looks only at migrations that have changed, and also finds changes of files that must not
    /// change.
    #[must_use]
    pub fn with_changes(mut self, changes: Changes) -> Self {
        self.changes = Some(changes);
        self
    }

    /// Judges a lock by the size of the table.
    #[must_use]
    pub fn with_sizes(mut self, sizes: Sizes) -> Self {
        self.sizes = sizes;
        self
    }

    /// Looks only at the migrations in these directories.
    #[must_use]
    pub fn with_only<'a>(mut self, directories: impl IntoIterator<Item = &'a Path>) -> Self {
        let names = directories.into_iter().filter_map(Path::file_name);
        self.only = Some(names.map(OsStr::to_owned).collect());
        self
    }

    /// Reads the migrations and applies the rules.
    ///
    /// # Errors
    ///
    /// [`LintError::Migrations`] if a file is missing, unreadable or not understood.
    pub fn run(&self) -> Result<Report, LintError> {
        let mut findings = Vec::new();
        for migration in MigrationSource::directory(&self.directory).read()? {
            let has_changed = self
                .changes
                .as_ref()
                .is_none_or(|changes| changes.has(&migration.path));
            let is_meant = self.only.as_ref().is_none_or(|only| {
                let name = migration.path.file_name();
                name.is_some_and(|name| only.contains(name))
            });
            if has_changed && is_meant {
                findings.extend(self.look_at(&migration));
            }
        }
        if let Some(changes) = &self.changes {
            findings.extend(changes.edited(&self.directory));
        }
        findings.retain(|finding| {
            !self.settings.excludes(finding.rule) && !self.settings.excludes_path(&finding.path)
        });
        findings.sort_by(|a, b| (&a.path, a.line, a.column).cmp(&(&b.path, b.line, b.column)));
        Ok(Report { findings })
    }

    fn look_at(&self, migration: &Migration) -> Vec<Finding> {
        let path = migration.path.join("up.sql");
        let text = &migration.up;
        let statements = outline(text);
        let mut findings =
            squawk::findings(&path, text, migration.run_in_transaction, &self.settings);
        findings.extend(checks::find(migration, &statements, self.schema.as_ref()));
        let changes = self.changes.as_ref();
        findings.extend(changes.and_then(|changes| changes.out_of_order(migration)));
        for finding in findings.iter_mut().filter(|finding| finding.path == path) {
            let statement = statements
                .iter()
                .find(|statement| finding.offset.is_some_and(|at| at < statement.end));
            finding.statement_line =
                statement.map(|statement| line_and_column(text, statement.offset).0);
            if let Ok(rule) = rules::find(finding.rule) {
                self.sizes.weigh(finding, rule);
            }
        }
        let problems = allow::apply(&path, text, &statements, &mut findings);
        findings.extend(problems);
        findings
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::rules::Severity;

    fn lint(up: &str, down: Option<&str>, metadata: Option<&str>) -> Vec<Finding> {
        let folder = tempfile::tempdir().unwrap();
        let migration = folder.path().join("1_a");
        fs::create_dir(&migration).unwrap();
        fs::write(migration.join("up.sql"), up).unwrap();
        if let Some(down) = down {
            fs::write(migration.join("down.sql"), down).unwrap();
        }
        if let Some(metadata) = metadata {
            fs::write(migration.join("metadata.toml"), metadata).unwrap();
        }
        Linter::new(folder.path()).unwrap().run().unwrap().findings
    }

    fn rules_of(up: &str) -> Vec<&'static str> {
        let findings = lint(up, Some("select 1"), None);
        findings
            .iter()
            .filter(|f| f.is_error())
            .map(|f| f.rule)
            .collect()
    }

    const OUTSIDE: Option<&str> = Some("run_in_transaction = false");

    #[test]
    fn what_needs_no_transaction_and_has_one_is_found_and_the_other_way_round() {
        for sql in [
            "create index concurrently i on t(a)",
            "vacuum t",
            "reindex index concurrently i",
            "alter table t detach partition p concurrently",
            "alter system set work_mem = '1MB'",
        ] {
            assert!(
                rules_of(sql).contains(&"transaction-flag-mismatch"),
                "{sql}"
            );
            let outside = lint(sql, Some("select 1"), OUTSIDE);
            assert!(
                !outside
                    .iter()
                    .any(|f| f.rule == "transaction-flag-mismatch"),
                "{sql}"
            );
        }
        let needless = lint("create table a()", Some("drop table a"), OUTSIDE);
        let found = needless
            .iter()
            .find(|f| f.rule == "transaction-flag-mismatch")
            .unwrap();
        assert_eq!(found.severity, Severity::Warning);
    }

    #[test]
    fn an_allowance_at_the_end_of_a_line_is_about_that_line() {
        let reasons = |up: &str| {
            let findings = lint(up, Some("select 1"), None);
            assert!(!findings.iter().any(|f| f.rule == "unused-allow"), "{up}");
            let dropped = findings.into_iter().filter(|f| f.rule == "ban-drop-column");
            dropped.map(|f| f.suppressed).collect::<Vec<_>>()
        };
        let x = || Some("x".to_owned());
        let allow = "-- dbctl:allow ban-drop-column reason=\"x\"";
        for (up, expected) in [
            (
                format!("alter table a drop column b; {allow}\nalter table a drop column c;"),
                vec![x(), None],
            ),
            (
                format!("alter table a {allow}\n  drop column b;\nalter table a drop column c;"),
                vec![x(), None],
            ),
            (
                format!("alter table a drop column b;\nalter table a\n drop column c {allow}"),
                vec![None, x()],
            ),
            (
                format!("select '\n{allow}\n'; alter table a drop column b;"),
                vec![None],
            ),
        ] {
            assert_eq!(reasons(&up), expected, "{up}");
        }
    }

    #[test]
    fn rules_of_squawk_know_the_transaction_and_have_their_place() {
        let findings = lint(
            "create table a();\n\nalter table b\n  drop column c;",
            Some("select 1"),
            None,
        );
        let dropped = findings
            .iter()
            .find(|f| f.rule == "ban-drop-column")
            .unwrap();
        assert_eq!((dropped.line, dropped.column), (4, 3));
        assert!(!dropped.help.is_empty());
        assert!(!findings.iter().any(|f| f.rule.starts_with("require-lock")));
    }

    #[test]
    fn rules_about_diesels_folders() {
        let has = |findings: Vec<Finding>, rule: &str| findings.iter().any(|f| f.rule == rule);
        assert!(has(lint("select 1", None, None), "down-missing"));
        assert!(has(lint("select 1", Some("-- later"), None), "down-empty"));
        let two = "create index concurrently i on t(a); create index concurrently j on t(b)";
        assert!(has(
            lint(two, Some("select 1"), OUTSIDE),
            "several-statements-without-transaction"
        ));
        let exists = "create index concurrently if not exists i on t(a)";
        assert!(has(
            lint(exists, Some("select 1"), OUTSIDE),
            "if-not-exists-with-concurrently"
        ));
        let value = "alter type mood add value 'calm'; update t set m = 'calm'";
        assert!(rules_of(value).contains(&"enum-value-used-where-added"));
        assert!(
            !rules_of("alter type mood add value 'calm'").contains(&"enum-value-used-where-added")
        );
        let backfill = "alter table t add column a int; update t set a = 1";
        assert!(rules_of(backfill).contains(&"backfill-beside-ddl"));
        let seeds = "create table t(a int); insert into t select 1; update t set a = 2";
        assert!(!rules_of(seeds).contains(&"backfill-beside-ddl"));
        for secret in [
            "create role r login password 'canary5ecret'",
            "select dblink_connect('postgres://u:canary5ecret@h/d')",
            "insert into k values ('-----BEGIN RSA PRIVATE KEY-----')",
            "insert into k values ('AKIAIOSFODNN7EXAMPLE')",
        ] {
            assert!(
                rules_of(secret).contains(&"secret-in-migration"),
                "{secret}"
            );
            let findings = lint(secret, Some("select 1"), None);
            assert!(findings.iter().all(|f| !f.message.contains("canary5ecret")));
        }
    }

    #[test]
    fn rules_about_what_holds_or_empties_a_whole_table() {
        let rules = |up: &str| {
            let findings = lint(up, Some("select 1"), None);
            findings.iter().map(|f| f.rule).collect::<Vec<_>>()
        };
        for (up, rule, is_found) in [
            (
                "alter table only a add if not exists n serial",
                "serial-column-added",
                true,
            ),
            (
                "alter table a add b int, add column n BigSerial",
                "serial-column-added",
                true,
            ),
            (
                "create table a(); alter table a add n serial",
                "serial-column-added",
                false,
            ),
            ("alter table a add serial int", "serial-column-added", false),
            ("alter table a add c json", "json-column-added", true),
            ("alter table a add json jsonb", "json-column-added", false),
            (
                "refresh materialized view v",
                "refresh-without-concurrently",
                true,
            ),
            (
                "refresh materialized view v with no data",
                "refresh-without-concurrently",
                false,
            ),
            ("truncate only s.a, b", "truncated-table", true),
            (
                "create table a(); truncate table a",
                "truncated-table",
                false,
            ),
        ] {
            assert_eq!(rules(up).contains(&rule), is_found, "{up}");
        }
    }

    #[test]
    fn an_allowed_finding_stays_with_its_reason_and_a_bare_allowance_is_an_error() {
        let sql = |comment: &str| {
            format!("{comment}\nalter table a drop column b;\nalter table a drop column c;")
        };
        let allowed = lint(
            &sql("-- dbctl:allow ban-drop-column reason=\"unused since 1.4\""),
            Some("select 1"),
            None,
        );
        let found: Vec<_> = allowed
            .iter()
            .filter(|f| f.rule == "ban-drop-column")
            .collect();
        assert_eq!(found[0].suppressed.as_deref(), Some("unused since 1.4"));
        assert!(!found[0].is_error() && found[1].is_error());

        let bare = rules_of(&sql("-- dbctl:allow ban-drop-column"));
        assert!(bare.contains(&"allow-without-reason"), "{bare:?}");
        assert_eq!(
            bare.iter()
                .filter(|rule| **rule == "ban-drop-column")
                .count(),
            2
        );
        let empty = rules_of(&sql("-- dbctl:allow ban-drop-column reason=\" \""));
        assert!(empty.contains(&"allow-without-reason"), "{empty:?}");

        let unknown = lint(
            &sql("-- dbctl:allow ban-drop-colum reason=\"x\""),
            Some("select 1"),
            None,
        );
        let found = unknown.iter().find(|f| f.rule == "unknown-rule").unwrap();
        assert!(
            found.is_error() && found.message.contains("`ban-drop-column`"),
            "{}",
            found.message
        );
        let unused = lint(
            "-- dbctl:allow ban-drop-table reason=\"x\"\nselect 1",
            Some("select 1"),
            None,
        );
        assert!(unused.iter().any(|f| f.rule == "unused-allow"));
        let squawks = lint(
            &sql("-- squawk-ignore ban-drop-colum"),
            Some("select 1"),
            None,
        );
        assert!(
            squawks
                .iter()
                .any(|f| f.message.contains("did you mean `ban-drop-column`?"))
        );
    }
}
