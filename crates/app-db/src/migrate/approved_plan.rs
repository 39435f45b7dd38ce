//! A plan that a person has approved, which a run has to match.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::migrate::checksum::checksum;
use crate::migrate::error::MigrateError;
use crate::migrate::source::Migration;

/// The part of the output of `dbctl migrate plan --json` that a run has to match: which migrations, in which
/// order, with which text, and whether in a transaction. Sizes and locks may have changed since.
#[derive(Clone, Debug, Deserialize)]
pub struct ApprovedPlan {
    database: String,
    migrations: Vec<ApprovedMigration>,
}

#[derive(Clone, Debug, Deserialize)]
struct ApprovedMigration {
    version: String,
    name: String,
    sha256: String,
    transaction: bool,
}

impl ApprovedPlan {
    /// Fails unless `pending` is what was planned. Planned migrations that are already applied do not count,
    /// so a run can be repeated.
    pub(super) fn require(
        &self,
        database: &str,
        pending: &[&Migration],
        applied: &BTreeMap<String, String>,
    ) -> Result<(), MigrateError> {
        match self.difference(database, pending, applied) {
            None => Ok(()),
            Some(problem) => Err(MigrateError::NotAsPlanned { problem }),
        }
    }

    fn difference(
        &self,
        database: &str,
        pending: &[&Migration],
        applied: &BTreeMap<String, String>,
    ) -> Option<String> {
        if self.database != database {
            let planned = &self.database;
            return Some(format!(
                "it is for the database {planned}, this is {database}"
            ));
        }
        let mut planned = self
            .migrations
            .iter()
            .filter(|planned| !applied.contains_key(&planned.version));
        for migration in pending {
            let title = migration.title();
            match planned.next() {
                Some(planned) if planned.version == migration.version => {
                    if let Some(problem) = planned.difference(migration) {
                        return Some(format!("{title} {problem}"));
                    }
                }
                Some(planned) if planned.version < migration.version => {
                    return Some(format!("{} is planned, but not pending", planned.title()));
                }
                _ => return Some(format!("{title} is pending, but not planned")),
            }
        }
        let left = planned.next()?;
        Some(format!("{} is planned, but not pending", left.title()))
    }
}

impl ApprovedMigration {
    fn difference(&self, migration: &Migration) -> Option<&'static str> {
        if self.sha256 != checksum(&migration.up) {
            Some("has another up.sql")
        } else if self.transaction != migration.run_in_transaction {
            Some("has another `run_in_transaction`")
        } else {
            None
        }
    }

    fn title(&self) -> String {
        format!("{}_{}", self.version, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::source::{EmbeddedMigration, MigrationSource};

    #[test]
    fn what_is_not_as_it_was_planned_is_named() {
        let read = |migrations: &[(&'static str, &'static str)]| {
            let embedded = migrations
                .iter()
                .map(|(name, up)| EmbeddedMigration::new(*name, *up));
            MigrationSource::embedded(embedded).read().unwrap()
        };
        let planned = read(&[("1_a", "select 1"), ("3_c", "select 3")]);
        let plan = ApprovedPlan {
            database: "app".to_owned(),
            migrations: planned
                .iter()
                .map(|migration| ApprovedMigration {
                    version: migration.version.clone(),
                    name: migration.name.clone(),
                    sha256: checksum(&migration.up),
                    transaction: true,
                })
                .collect(),
        };
        let difference = |migrations: &[(&'static str, &'static str)], applied: &[&str]| {
            let read = read(migrations);
            let applied = applied
                .iter()
                .map(|version| ((*version).to_owned(), String::new()));
            plan.difference("app", &read.iter().collect::<Vec<_>>(), &applied.collect())
        };
        let (a, c) = (("1_a", "select 1"), ("3_c", "select 3"));
        assert_eq!(difference(&[a, c], &[]), None);
        assert_eq!(difference(&[c], &["1"]), None);
        assert_eq!(difference(&[], &["1", "3"]), None);
        for (pending, applied, problem) in [
            (
                vec![a, ("2_b", ""), c],
                vec![],
                "2_b is pending, but not planned",
            ),
            (
                vec![a, c, ("4_d", "")],
                vec![],
                "4_d is pending, but not planned",
            ),
            (vec![a], vec![], "3_c is planned, but not pending"),
            (vec![c], vec![], "1_a is planned, but not pending"),
            (
                vec![a, ("3_c", "select 4")],
                vec![],
                "3_c has another up.sql",
            ),
        ] {
            let found = difference(&pending, &applied);
            assert_eq!(found.as_deref(), Some(problem));
        }
        let other = plan.difference("other", &[], &BTreeMap::new());
        assert!(other.unwrap().contains("for the database app"));
    }
}
