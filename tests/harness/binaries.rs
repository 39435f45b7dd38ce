//! Where the machine keeps its PostgreSQL server programs.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::HarnessError;
use crate::account::Account;

/// One installed PostgreSQL: the folder of `postgres` and `initdb`, and its version.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
    version: String,
}

impl Binaries {
    /// Finds a server: `DB_TESTS_POSTGRES_BIN`, then `PATH`, `pg_config`, the distributions' folders.
    pub fn find() -> Result<Self, HarnessError> {
        if let Some(folder) = env::var_os("DB_TESTS_POSTGRES_BIN") {
            return Self::at(Path::new(&folder));
        }
        candidates()
            .iter()
            .find_map(|folder| Self::at(folder).ok())
            .ok_or(HarnessError::NoPostgres)
    }

    /// The server programs in one folder.
    pub fn at(folder: &Path) -> Result<Self, HarnessError> {
        if !folder.join("initdb").is_file() {
            return Err(HarnessError::NoPostgres);
        }
        let output = Account::of_servers()?
            .command(folder.join("postgres"))
            .arg("--version")
            .output();
        let output = output.map_err(|_| HarnessError::NoPostgres)?;
        // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .split_whitespace()
            .nth(2)
            .ok_or(HarnessError::NoPostgres)?
            .to_owned();
        Ok(Self {
            folder: folder.to_owned(),
            version,
        })
    }

    /// The server's version, `15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The server's major version, 15.
    pub fn major(&self) -> u32 {
        let digits = self.version.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A name for what depends on this installation alone.
    pub(crate) fn key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.folder.hash(&mut hasher);
        format!("{}-{:08x}", self.version, hasher.finish() >> 32)
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        // PATH often has a link; initdb looks for its companions beside the real file.
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
fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
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

/// Parent folder, prefix of the version's folder, the programs' folder below that.
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
        let folder = tempfile::tempdir().unwrap();
        for name in ["pgsql-9.6", "pgsql-15", "pgsql-16", "other"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let names: Vec<_> = versions(folder.path(), "pgsql-")
            .into_iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["pgsql-16", "pgsql-15", "pgsql-9.6"]);
    }
}
