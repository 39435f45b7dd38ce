//! Finds folders of migrations.

use std::fs;
use std::path::{Path, PathBuf};

/// Every folder at or below `root` whose folders have an `up.sql`.
pub(crate) fn below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        let inner = folders_in(&folder);
        if inner.iter().any(|inner| inner.join("up.sql").is_file()) {
            found.push(folder);
        } else {
            let seen = |path: &PathBuf| {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                !name.starts_with('.') && name != "target" && name != "node_modules"
            };
            left.extend(inner.into_iter().filter(seen));
        }
    }
    found.sort();
    found
}

/// The migrations of a folder, in their order.
pub(crate) fn migrations(folder: &Path) -> Vec<PathBuf> {
    let mut migrations = folders_in(folder);
    migrations.retain(|migration| migration.join("up.sql").is_file());
    migrations.sort_by_key(|migration| {
        let name = migration.file_name().unwrap_or_default().to_string_lossy();
        let version = name.split('_').next().unwrap_or_default();
        version.replace('-', "")
    });
    migrations
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}
