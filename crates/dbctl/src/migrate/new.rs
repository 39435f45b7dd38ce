//! `dbctl migrate new`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

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

/// Makes `<directory>/<now>_<name>/{up,down}.sql`. It never touches what exists.
///
/// Of several that are made within a second each gets a second of its own, because two migrations of one
/// version cannot be run.
pub(crate) fn create(directory: &Path, name: &MigrationName) -> Result<PathBuf, CommandFailure> {
    write_next(directory, name, SystemTime::now()).map_err(|error| {
        let absolute = std::path::absolute(directory);
        let directory = absolute.as_deref().unwrap_or(directory);
        let problem = format!(
            "cannot create a migration in {}: {error}",
            directory.display()
        );
        CommandFailure::new(Exit::Failed, problem)
    })
}

fn write_next(directory: &Path, name: &MigrationName, mut time: SystemTime) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    // Until the file is closed, others that make a migration wait here. A file system without locks is
    // no hindrance: then the directories alone tell.
    let lock = File::open(directory)?;
    let _ = lock.lock();
    let taken = versions(directory)?;
    while taken.contains(&version(time).replace('-', "")) {
        time += Duration::from_secs(1);
    }
    let migration = directory.join(format!("{}_{}", version(time), name.0));
    write(&migration)?;
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

fn write(migration: &Path) -> io::Result<()> {
    fs::create_dir(migration)?;
    fs::write(migration.join("up.sql"), UP)?;
    fs::write(migration.join("down.sql"), DOWN)
}

/// `2026-11-20-123456`, in UTC, as diesel's command line names its migrations.
fn version(time: SystemTime) -> String {
    let rfc3339 = humantime::format_rfc3339_seconds(time).to_string();
    rfc3339.replace('T', "-").replace([':', 'Z'], "")
}

const UP: &str =
    "-- Runs in a transaction of the migrator's, with a lock timeout; no BEGIN or COMMIT here.\n";
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
                    scope.spawn(move || write_next(root, &name, time).unwrap())
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
        write(&migration).unwrap();
        fs::write(migration.join("up.sql"), "mine").unwrap();
        let error = write(&migration).unwrap_err();
        let kept = fs::read_to_string(migration.join("up.sql")).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(kept, "mine");
    }
}
