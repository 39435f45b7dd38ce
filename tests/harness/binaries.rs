//! Where the machine keeps its PostgreSQL server programs.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use app_db_test::plumbing::{installations, versions};

use crate::HarnessError;
use crate::account::Account;
use crate::error::Doing;
use crate::folder::{base, lock};

/// One installed PostgreSQL: the folder of `postgres` and `initdb`, and its version.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
    version: String,
}

impl Binaries {
    /// Finds a server: `DB_TESTS_POSTGRES_BIN`, then `PATH`, `pg_config`, the distributions' folders, and what
    /// `fetch-postgres.sh` has fetched. With `PG=18` only one of that version.
    pub fn find() -> Result<Self, HarnessError> {
        if let Some(folder) = env::var_os("DB_TESTS_POSTGRES_BIN") {
            return Self::at(Path::new(&folder));
        }
        let wanted = env::var("PG").ok().filter(|wanted| !wanted.is_empty());
        installations()
            .iter()
            .chain(&fetched()?)
            .filter_map(|folder| Self::at(folder).ok())
            .find(|found| {
                wanted
                    .as_ref()
                    .is_none_or(|wanted| *wanted == found.major().to_string())
            })
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

    /// The folder of `postgres`. In a complete installation the client programs are there too.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A name for files that depend only on this installation.
    pub(crate) fn key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.folder.hash(&mut hasher);
        format!("{}-{:08x}", self.version, hasher.finish() >> 32)
    }
}

/// The installations in `target/tools`, the newest first. They are copied if the servers' account cannot reach
/// them.
fn fetched() -> Result<Vec<PathBuf>, HarnessError> {
    let account = Account::of_servers()?;
    let installed = versions(Path::new(FETCHED), "").into_iter();
    let installed = installed.filter(|found| found.join("bin/postgres").is_file());
    let reachable = installed.map(|found| match account.reaches(&found.join("bin/postgres")) {
        true => Ok(found.join("bin")),
        false => Ok(copied(account, &found)?.join("bin")),
    });
    reachable.collect()
}

/// A copy in the base folder, made once. Blocks.
fn copied(account: Account, installed: &Path) -> Result<PathBuf, HarnessError> {
    let mut hasher = DefaultHasher::new();
    installed.hash(&mut hasher);
    let copy = base(account)?.join(format!("postgres-{:016x}", hasher.finish()));
    let _lock = lock(account)?;
    if !copy.join("bin/postgres").is_file() {
        let growing = copy.with_extension("growing");
        let _ = fs::remove_dir_all(&growing);
        // Our own account makes the copy, because the servers' account cannot read the source.
        let mut copying = Command::new("cp");
        account.run(copying.arg("-R").arg(installed).arg(&growing))?;
        // The rename makes it appear whole or not at all.
        fs::rename(&growing, &copy).doing(|| format!("naming {}", copy.display()))?;
    }
    Ok(copy)
}

const FETCHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/postgres");
