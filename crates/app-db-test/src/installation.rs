//! Where machines have the programs of a PostgreSQL server.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that may have `postgres` and `initdb`: on `PATH`, from `pg_config`, and where the distributions install
/// them.
pub fn installations() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        // `PATH` often has a link, and initdb looks for its companions beside the real file.
        if let Ok(program) = folder.join("postgres").canonicalize() {
            folders.extend(program.parent().map(Path::to_owned));
        }
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim(),
        ));
    }
    for (parent, prefix, below) in DISTRIBUTIONS {
        folders.extend(
            versions(Path::new(parent), prefix)
                .into_iter()
                .map(|found| found.join(below)),
        );
    }
    folders
}

/// The folders in `parent` whose names are `prefix` and a version, the newest first.
pub fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let number = |name: &str| {
        name.trim_matches(|c: char| !c.is_ascii_digit())
            .parse::<f32>()
            .unwrap_or(0.0)
    };
    let mut found: Vec<(f32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.starts_with(prefix)
                .then(|| (number(&name), entry.path()))
        })
        .collect();
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    found.into_iter().map(|(_, path)| path).collect()
}

/// The parent folder, the prefix of the version's folder, and the programs' folder below it.
const DISTRIBUTIONS: [(&str, &str, &str); 8] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr/local", "pgsql", "bin"),
    ("/usr/lib", "postgresql", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

#[cfg(test)]
mod tests {
    use super::versions;

    #[test]
    fn the_newest_version_comes_first() {
        let folder = std::env::temp_dir().join(format!("versions-{:x}", fastrand::u64(..)));
        for name in ["pgsql-9.6", "pgsql-15", "pgsql-16", "other"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        let names: Vec<_> = versions(&folder, "pgsql-")
            .into_iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(names, ["pgsql-16", "pgsql-15", "pgsql-9.6"]);
    }
}
