//! `dbctl migrate new`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

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
pub(crate) fn create(directory: &Path, name: &MigrationName) -> Result<PathBuf, CommandFailure> {
    let migration = directory.join(format!("{}_{}", version(SystemTime::now()), name.0));
    write(directory, &migration).map_err(|error| {
        CommandFailure::new(
            Exit::Failed,
            format!("cannot create {}: {error}", migration.display()),
        )
    })?;
    Ok(migration)
}

fn write(directory: &Path, migration: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
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
    fn an_existing_migration_is_not_overwritten() {
        let root = std::env::temp_dir().join(format!("dbctl-new-{}", std::process::id()));
        let migration = root.join("2026-11-20-123456_a");
        write(&root, &migration).unwrap();
        fs::write(migration.join("up.sql"), "mine").unwrap();
        let error = write(&root, &migration).unwrap_err();
        let kept = fs::read_to_string(migration.join("up.sql")).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(kept, "mine");
    }
}
