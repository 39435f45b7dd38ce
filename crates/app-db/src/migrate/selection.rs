//! Which of the pending migrations a run applies.

use std::collections::BTreeMap;

use crate::migrate::error::MigrateError;
use crate::migrate::layout::version_of;
use crate::migrate::metadata::Phase;
use crate::migrate::source::Migration;

/// What the caller wants to apply.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// The last version, as the caller wrote it.
    pub(super) to: Option<String>,
    pub(super) most: Option<usize>,
    pub(super) phase: Option<Phase>,
    /// Whether one run must not apply both phases.
    pub(super) one_phase: bool,
    pub(super) allow_out_of_order: bool,
}

impl Selection {
    /// The migrations to apply, in order. Fails if nothing may run.
    pub(super) fn of<'a>(
        &self,
        migrations: &'a [Migration],
        applied: &BTreeMap<String, String>,
    ) -> Result<Vec<&'a Migration>, MigrateError> {
        let last = self.last(migrations, applied)?;
        let mut pending: Vec<&Migration> = migrations
            .iter()
            .filter(|m| !applied.contains_key(&m.version))
            .filter(|m| last.as_ref().is_none_or(|last| m.version <= *last))
            .collect();
        for migration in &pending {
            self.refuse_out_of_order(migration, applied)?;
        }
        self.keep_phase(&mut pending)?;
        pending.truncate(self.most.unwrap_or(usize::MAX));
        if self.one_phase {
            refuse_both_phases(&pending)?;
        }
        Ok(pending)
    }

    /// The last version to apply. Newer applied versions are an error: the caller wants to go back, and a
    /// run never does.
    fn last(
        &self,
        migrations: &[Migration],
        applied: &BTreeMap<String, String>,
    ) -> Result<Option<String>, MigrateError> {
        let Some(to) = &self.to else {
            return Ok(None);
        };
        let last = known_version(to, migrations)?;
        match applied.keys().next_back() {
            Some(newest) if *newest > last => Err(MigrateError::AlreadyBeyond {
                version: last,
                newest: newest.clone(),
            }),
            _ => Ok(Some(last)),
        }
    }

    fn keep_phase(&self, pending: &mut Vec<&Migration>) -> Result<(), MigrateError> {
        let is_contract = |migration: &&Migration| migration.phase == Some(Phase::Contract);
        match (self.phase, pending.first()) {
            (Some(Phase::Contract), Some(first)) if !is_contract(first) => {
                return Err(MigrateError::ExpandFirst {
                    migration: first.title(),
                });
            }
            (Some(phase), _) => {
                let contract = phase == Phase::Contract;
                let end = pending.iter().position(|m| is_contract(m) != contract);
                pending.truncate(end.unwrap_or(pending.len()));
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn refuse_out_of_order(
        &self,
        migration: &Migration,
        applied: &BTreeMap<String, String>,
    ) -> Result<(), MigrateError> {
        match applied.keys().next_back() {
            Some(newest) if !self.allow_out_of_order && migration.version < *newest => {
                Err(MigrateError::OutOfOrder {
                    version: migration.version.clone(),
                    name: migration.name.clone(),
                    newest: newest.clone(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// The version that the caller means, if the source has it.
pub(super) fn known_version(given: &str, migrations: &[Migration]) -> Result<String, MigrateError> {
    let version = version_of(given);
    if migrations.iter().any(|m| m.version == version) {
        return Ok(version);
    }
    Err(MigrateError::UnknownVersion {
        version: given.to_owned(),
        newest: migrations.last().map(Migration::title),
    })
}

/// Refuses both phases in one run, as the old code may still use what the contract removes.
fn refuse_both_phases(pending: &[&Migration]) -> Result<(), MigrateError> {
    let mut contracts = pending
        .iter()
        .filter(|migration| migration.phase == Some(Phase::Contract));
    match contracts.next() {
        Some(first) if 1 + contracts.count() < pending.len() => Err(MigrateError::BothPhases {
            contract: first.title(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::source::{EmbeddedMigration, MigrationSource};

    fn migrations() -> Vec<Migration> {
        let contract = "run_in_transaction = true\n[dbctl]\nphase = \"contract\"";
        let migrations = ["1_a", "2_b", "3_c", "4_d"].map(|name| {
            let migration = EmbeddedMigration::new(name, "select 1");
            match name {
                "3_c" => migration.with_metadata(contract),
                _ => migration,
            }
        });
        MigrationSource::embedded(migrations).read().unwrap()
    }

    fn select(selection: &Selection, applied: &[&str]) -> Result<Vec<String>, String> {
        let applied = applied.iter().map(|v| ((*v).to_owned(), String::new()));
        let migrations = migrations();
        let selected = selection.of(&migrations, &applied.collect());
        selected
            .map(|selected| selected.iter().map(|m| m.version.clone()).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_run_ends_with_the_version_or_the_count_that_it_is_given() {
        let to = |to: &str| Selection {
            to: Some(to.to_owned()),
            ..Selection::default()
        };
        assert_eq!(select(&to("2_b"), &[]).unwrap(), ["1", "2"]);
        assert_eq!(select(&to("2"), &["1"]).unwrap(), ["2"]);
        assert!(select(&to("2"), &["1", "2"]).unwrap().is_empty());
        let beyond = select(&to("2"), &["1", "2", "3"]).unwrap_err();
        assert!(beyond.contains("revert --to 2"), "{beyond}");
        let unknown = select(&to("22"), &[]).unwrap_err();
        assert!(unknown.contains("4_d"), "{unknown}");
        let two = Selection {
            most: Some(2),
            ..Selection::default()
        };
        assert_eq!(select(&two, &["1"]).unwrap(), ["2", "3"]);
    }

    #[test]
    fn a_phase_ends_before_the_first_migration_of_the_other() {
        let phase = |phase| Selection {
            phase: Some(phase),
            ..Selection::default()
        };
        assert_eq!(select(&phase(Phase::Expand), &[]).unwrap(), ["1", "2"]);
        let expanded = &["1", "2"];
        assert!(select(&phase(Phase::Expand), expanded).unwrap().is_empty());
        assert_eq!(select(&phase(Phase::Contract), expanded).unwrap(), ["3"]);
        let early = select(&phase(Phase::Contract), &[]).unwrap_err();
        assert!(early.contains("1_a"), "{early}");
    }

    #[test]
    fn both_phases_in_one_run_are_refused_where_that_is_asked_for() {
        let one_phase = Selection {
            one_phase: true,
            ..Selection::default()
        };
        let both = select(&one_phase, &[]).unwrap_err();
        assert!(both.contains("3_c"), "{both}");
        let contract_alone = Selection {
            most: Some(1),
            ..one_phase
        };
        assert_eq!(select(&contract_alone, &["1", "2"]).unwrap(), ["3"]);
    }
}
