//! Where the machine keeps PgBouncer, and the versions that `fetch-pgbouncer.sh` and `build-pgbouncer.sh` install.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::HarnessError;
use crate::account::Account;
use crate::error::Doing;

/// One PgBouncer program and its version.
#[derive(Debug, Clone)]
pub struct BouncerBinary {
    path: PathBuf,
    version: (u32, u32),
}

impl BouncerBinary {
    /// The installed PgBouncer (`DB_TESTS_PGBOUNCER`, `PATH`, the system folders), else one in `target/tools`.
    pub fn find() -> Result<Self, HarnessError> {
        candidates()
            .iter()
            .find_map(|path| Self::at(path))
            .ok_or(HarnessError::NoBouncer)
    }

    /// A PgBouncer of at least this version; 1.21 is the first that keeps prepared statements.
    pub fn at_least(major: u32, minor: u32) -> Option<Self> {
        Self::all()
            .into_iter()
            .find(|binary| binary.version >= (major, minor))
    }

    /// A PgBouncer older than this version.
    pub fn older_than(major: u32, minor: u32) -> Option<Self> {
        Self::all()
            .into_iter()
            .find(|binary| binary.version < (major, minor))
    }

    /// Every PgBouncer on the machine.
    pub fn all() -> Vec<Self> {
        candidates()
            .iter()
            .filter_map(|path| Self::at(path))
            .collect()
    }

    /// Its version, as (1, 18).
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    fn at(path: &Path) -> Option<Self> {
        let output = command(path).arg("--version").output().ok()?;
        // "PgBouncer 1.18.0" and lines about its libraries.
        let text = String::from_utf8_lossy(&output.stdout);
        let mut numbers = text.split_whitespace().nth(1)?.split('.').map(str::parse);
        let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self {
            path: path.to_owned(),
            version,
        })
    }

    /// Runs it.
    pub(super) fn command(&self) -> Command {
        command(&self.path)
    }

    /// The program, or a copy in `folder` when the account cannot enter the program's own folder.
    pub(super) fn reachable_by(
        self,
        account: Account,
        folder: &Path,
    ) -> Result<Self, HarnessError> {
        if account.reaches(&self.path) {
            return Ok(self);
        }
        let path = folder.join("pgbouncer");
        fs::copy(&self.path, &path).doing(|| format!("copying {}", self.path.display()))?;
        let (from, to) = (libraries(&self.path), libraries(&path));
        if from.is_dir() {
            account.run(Command::new("cp").arg("-R").arg(from).arg(to))?;
        }
        Ok(Self { path, ..self })
    }
}

fn candidates() -> Vec<PathBuf> {
    let named = env::var_os("DB_TESTS_PGBOUNCER").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("pgbouncer"));
    let system = ["/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer"].map(PathBuf::from);
    named
        .into_iter()
        .chain(on_path)
        .chain(system)
        .chain(
            ["pgbouncer-debian", "pgbouncer"]
                .map(|folder| Path::new(TOOLS).join(folder).join("pgbouncer")),
        )
        .collect()
}

/// Runs the program with the libraries beside it, if there are any.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    let libraries = libraries(program);
    if libraries.is_dir() {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

/// The folder beside the program with the libraries that the machine lacks.
fn libraries(program: &Path) -> PathBuf {
    program.with_file_name("lib")
}

const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools");
