//! The initialised data folder that clusters are copied from: 100 ms instead of 700.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::HarnessError;
use crate::account::Account;
use crate::binaries::Binaries;
use crate::error::Doing;
use crate::folder::{base, lock, make, random_word, write_private};

/// A stopped, initialised cluster in the base folder, one per installation.
#[derive(Debug)]
pub(crate) struct Template {
    folder: PathBuf,
    password: String,
}

impl Template {
    /// The cached template, which is made if it does not exist. Blocks.
    pub(crate) fn prepare(account: Account, binaries: &Binaries) -> Result<Self, HarnessError> {
        let folder = base(account)?.join(format!("template-{}", binaries.key()));
        let _lock = lock(account)?;
        if !is_fresh(&folder) {
            let _ = fs::remove_dir_all(&folder);
            build(account, binaries, &folder)?;
        }
        let file = folder.join(PASSWORD);
        let password = fs::read_to_string(&file).doing(|| format!("reading {}", file.display()))?;
        Ok(Self { folder, password })
    }

    /// The password of `postgres` in every copy.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Copies the data to `target`, which must not exist. Blocks.
    pub(crate) fn copy_to(&self, account: Account, target: &Path) -> Result<(), HarnessError> {
        let _lock = lock(account)?;
        account.run(
            account
                .command("cp")
                .arg("-a")
                .arg(self.folder.join(DATA))
                .arg(target),
        )
    }
}

/// Old templates are made again, because the system may have removed some of their files from the temporary folder.
fn is_fresh(folder: &Path) -> bool {
    fs::metadata(folder.join(PASSWORD))
        .and_then(|meta| meta.modified())
        .is_ok_and(|made| made.elapsed().is_ok_and(|age| age < KEEP))
}

fn build(account: Account, binaries: &Binaries, folder: &Path) -> Result<(), HarnessError> {
    let password = random_word()?;
    let growing = folder.with_extension(format!("growing-{}", std::process::id()));
    let _ = fs::remove_dir_all(&growing);
    make(account, &growing, 0o700).doing(|| format!("making {}", growing.display()))?;
    write_private(account, &growing.join(PASSWORD), &password)?;
    // The rename makes a template appear whole or not at all.
    let password = growing.join(PASSWORD);
    let built = initialise(account, binaries, &growing.join(DATA), &password).and_then(|()| {
        fs::rename(&growing, folder).doing(|| format!("naming {}", folder.display()))
    });
    if built.is_err() {
        let _ = fs::remove_dir_all(&growing);
    }
    built
}

/// Makes a data folder whose superuser has the password in this file.
pub(crate) fn initialise(
    account: Account,
    binaries: &Binaries,
    data: &Path,
    password: &Path,
) -> Result<(), HarnessError> {
    let mut initdb = account.command(binaries.program("initdb"));
    initdb.args(["--no-sync", "--wal-segsize=1", "-E", "UTF8", "--locale=C"]);
    initdb.args(["-A", "scram-sha-256", "-U", "postgres", "--pwfile"]);
    account.run(initdb.arg(password).arg("-D").arg(data))
}

const DATA: &str = "data";
const PASSWORD: &str = "password";
const KEEP: Duration = Duration::from_secs(5 * 24 * 60 * 60);
