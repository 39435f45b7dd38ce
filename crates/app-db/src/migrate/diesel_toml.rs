//! The folder that `diesel.toml` names for diesel's own tool.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::migrate::error::MigrateError;

#[derive(Deserialize)]
struct DieselToml {
    migrations_directory: Option<MigrationsDirectory>,
}

#[derive(Deserialize)]
struct MigrationsDirectory {
    dir: Option<PathBuf>,
}

/// The folder that the nearest `diesel.toml` at or above the working directory names, if it names one. A
/// relative folder is relative to that file.
pub(super) fn migrations_directory() -> Result<Option<PathBuf>, MigrateError> {
    let Ok(here) = std::env::current_dir() else {
        return Ok(None);
    };
    for directory in here.ancestors() {
        let file = directory.join("diesel.toml");
        match std::fs::read_to_string(&file) {
            Ok(text) => return directory_in(&file, directory, &text),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied
                ) => {}
            Err(error) => return Err(MigrateError::unreadable(&file, error)),
        }
    }
    Ok(None)
}

fn directory_in(file: &Path, root: &Path, text: &str) -> Result<Option<PathBuf>, MigrateError> {
    let parsed: DieselToml = toml::from_str(text).map_err(|error| {
        MigrateError::source(file, format!("is not understood: {}", error.message()))
    })?;
    let named = parsed.migrations_directory.and_then(|table| table.dir);
    Ok(named.map(|named| root.join(named)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(text: &str) -> Result<Option<PathBuf>, String> {
        directory_in(Path::new("/app/diesel.toml"), Path::new("/app"), text)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_folder_starts_from_the_file_and_other_tables_are_diesels() {
        let text =
            "[print_schema]\nfile = \"src/schema.rs\"\n[migrations_directory]\ndir = \"db/m\"";
        assert_eq!(directory(text).unwrap(), Some(PathBuf::from("/app/db/m")));
        let absolute = "[migrations_directory]\ndir = \"/srv/m\"";
        assert_eq!(directory(absolute).unwrap(), Some(PathBuf::from("/srv/m")));
        assert_eq!(directory("").unwrap(), None);
        assert!(
            directory("[migrations_directory")
                .unwrap_err()
                .contains("/app/diesel.toml")
        );
    }
}
