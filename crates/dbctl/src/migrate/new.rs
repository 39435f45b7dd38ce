//! `dbctl migrate new`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use app_db::Phase;
use clap::Args;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;

/// The name of a migration: lower-case letters, digits and `_`.
#[derive(Clone, Debug)]
pub(crate) struct MigrationName(String);

impl FromStr for MigrationName {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err("expected lower-case letters, digits and `_`, as in `create_accounts`");
        }
        Ok(Self(name.to_owned()))
    }
}

/// What is written into the files.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Template {
    /// Write the statements that build an index concurrently, as in `entries(account_id)`
    #[arg(long, value_name = "TABLE(COLUMN,..)")]
    concurrent_index: Option<IndexOn>,
    /// Write no down.sql: the migration cannot be reverted
    #[arg(long)]
    no_down: bool,
    /// Write the phase into metadata.toml: `expand` or `contract`
    #[arg(long, value_name = "PHASE")]
    phase: Option<Phase>,
}

impl Template {
    fn metadata(&self) -> Option<String> {
        let in_transaction = self.concurrent_index.is_none();
        let flag = format!("run_in_transaction = {in_transaction}\n");
        match self.phase {
            Some(phase) => Some(format!("{flag}\n[dbctl]\nphase = \"{}\"\n", phase.as_str())),
            None => (!in_transaction).then_some(flag),
        }
    }
}

/// A table with the columns of an index.
#[derive(Clone, Debug)]
struct IndexOn {
    table: String,
    columns: String,
}

impl IndexOn {
    /// `entries_account_id_idx`, as the server would name it.
    fn name(&self) -> String {
        let table = self.table.rsplit('.').next().unwrap_or(&self.table);
        let columns: Vec<&str> = self.columns.split(',').map(str::trim).collect();
        format!("{table}_{}_idx", columns.join("_"))
    }
}

impl FromStr for IndexOn {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected a table and its columns, as in `entries(account_id, created_at)`";
        let inner = text.strip_suffix(')').and_then(|text| text.split_once('('));
        let (table, columns) = inner.ok_or(expected)?;
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if !table.split('.').all(is_name) || !columns.split(',').map(str::trim).all(is_name) {
            return Err(expected);
        }
        Ok(Self {
            table: table.to_owned(),
            columns: columns.to_owned(),
        })
    }
}

/// Makes `<directory>/<now>_<name>/{up,down}.sql`. It never overwrites a file.
///
/// If a version is taken, the migration gets the next free second, because two migrations cannot have one version.
pub(crate) fn create(
    directory: &Path,
    name: &MigrationName,
    template: &Template,
) -> Result<PathBuf, CommandFailure> {
    write_next(directory, name, template, SystemTime::now()).map_err(|error| {
        let absolute = std::path::absolute(directory);
        let directory = absolute.as_deref().unwrap_or(directory);
        let problem = format!(
            "cannot create a migration in {}: {error}",
            directory.display()
        );
        CommandFailure::new(Exit::Failed, problem)
    })
}

fn write_next(
    directory: &Path,
    name: &MigrationName,
    template: &Template,
    mut time: SystemTime,
) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    // Other processes that make a migration wait here until this one closes the file. On a file system without
    // locks nobody waits, and only the directories show which versions are taken.
    let lock = File::open(directory)?;
    let _ = lock.lock();
    let taken = versions(directory)?;
    while taken.contains(&version(time).replace('-', "")) {
        time += Duration::from_secs(1);
    }
    let migration = directory.join(format!("{}_{}", version(time), name.0));
    write(&migration, template)?;
    Ok(migration)
}

/// The versions in the directory, as they are compared: without `-`.
fn versions(directory: &Path) -> io::Result<HashSet<String>> {
    let mut versions = HashSet::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let version = name.split_once('_').map_or(&*name, |(version, _)| version);
        versions.insert(version.replace('-', ""));
    }
    Ok(versions)
}

fn write(migration: &Path, template: &Template) -> io::Result<()> {
    let (mut up, mut down) = (UP.to_owned(), DOWN.to_owned());
    if let Some(index) = &template.concurrent_index {
        let IndexOn { table, columns } = index;
        let name = index.name();
        up = format!("CREATE INDEX CONCURRENTLY {name} ON {table} ({columns});\n");
        down = format!("DROP INDEX CONCURRENTLY IF EXISTS {name};\n");
    }
    fs::create_dir(migration)?;
    fs::write(migration.join("up.sql"), up)?;
    if !template.no_down {
        fs::write(migration.join("down.sql"), down)?;
    }
    match template.metadata() {
        Some(metadata) => fs::write(migration.join("metadata.toml"), metadata),
        None => Ok(()),
    }
}

/// `2026-11-20-123456`, in UTC, as diesel's command line names its migrations.
fn version(time: SystemTime) -> String {
    let rfc3339 = humantime::format_rfc3339_seconds(time).to_string();
    rfc3339.replace('T', "-").replace([':', 'Z'], "")
}

const UP: &str =
    "-- The migrator runs this in a transaction, with a lock timeout. Write no BEGIN or COMMIT.\n";
const DOWN: &str = "-- Undoes up.sql.\n";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_version_is_the_time_in_utc() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_178_096);
        assert_eq!(version(time), "2026-11-20-123456");
    }

    #[test]
    fn names_with_anything_but_lower_case_letters_digits_and_underscores_are_refused() {
        for name in ["", "Create", "a-b", "a b", "../a", "ü"] {
            assert!(name.parse::<MigrationName>().is_err(), "{name}");
        }
        assert!("create_accounts_2".parse::<MigrationName>().is_ok());
    }

    #[test]
    fn migrations_of_one_second_get_a_version_each() {
        let root = std::env::temp_dir().join(format!("dbctl-new-{}", std::process::id()));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_178_096);
        fs::create_dir_all(root.join("20261120123457_by_hand")).unwrap();
        let made: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|n| {
                    let name: MigrationName = format!("m{n}").parse().unwrap();
                    let root = &root;
                    scope
                        .spawn(move || write_next(root, &name, &Template::default(), time).unwrap())
                })
                .collect();
            makers
                .into_iter()
                .map(|maker| maker.join().unwrap())
                .collect()
        });
        let there = versions(&root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(there.len(), made.len() + 1, "{there:?}");
        assert!(there.contains("20261120123456") && there.contains("20261120123504"));
    }

    #[test]
    fn an_existing_migration_is_not_overwritten() {
        let root = std::env::temp_dir().join(format!("dbctl-kept-{}", std::process::id()));
        let migration = root.join("2026-11-20-123456_a");
        fs::create_dir_all(&root).unwrap();
        write(&migration, &Template::default()).unwrap();
        fs::write(migration.join("up.sql"), "mine").unwrap();
        let error = write(&migration, &Template::default()).unwrap_err();
        let kept = fs::read_to_string(migration.join("up.sql")).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(kept, "mine");
    }

    #[test]
    fn a_template_writes_the_index_outside_a_transaction_and_the_phase() {
        let root = std::env::temp_dir().join(format!("dbctl-template-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let template = Template {
            concurrent_index: Some("app.entries(account_id, at)".parse().unwrap()),
            no_down: true,
            phase: Some(Phase::Contract),
        };
        write(&root.join("1_a"), &template).unwrap();
        let up = fs::read_to_string(root.join("1_a/up.sql")).unwrap();
        let metadata = fs::read_to_string(root.join("1_a/metadata.toml")).unwrap();
        let down = root.join("1_a/down.sql").exists();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            up,
            "CREATE INDEX CONCURRENTLY entries_account_id_at_idx ON app.entries (account_id, at);\n"
        );
        assert_eq!(
            metadata,
            "run_in_transaction = false\n\n[dbctl]\nphase = \"contract\"\n"
        );
        assert!(!down);
        for wrong in ["entries", "entries()", "(a)", "entries(a", "e; drop(a)"] {
            assert!(wrong.parse::<IndexOn>().is_err(), "{wrong}");
        }
    }
}
