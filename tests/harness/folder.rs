//! The folders of servers, and how folders of dead owners are found.
//!
//! All lie in one base folder per server account. Each is owned by the process that holds a lock on
//! the file `owner` in it; the kernel releases the lock however that process ends.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::HarnessError;
use crate::account::Account;
use crate::error::Doing;

/// A folder for one server; removed on drop.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    _owner: File,
}

impl RunFolder {
    /// Creates a folder, after removing folders whose owners are dead.
    pub(crate) fn create(account: Account, kind: &str) -> Result<Self, HarnessError> {
        let base = base(account)?;
        // Held so that nobody sweeps a folder between its making and the locking of its owner file.
        let _lock = lock(account)?;
        sweep(&base);
        let path = base.join(format!("run-{kind}-{}", random_word()?));
        make(account, &path, 0o700).doing(|| format!("making {}", path.display()))?;
        let owner = File::create(path.join(OWNER)).and_then(|file| file.lock().map(|()| file));
        let owner = owner.doing(|| format!("locking {}", path.display()))?;
        Ok(Self {
            path,
            _owner: owner,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // The next sweep removes what this cannot remove now.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A folder for data that stay: `postgres` in `parent`. If the servers' account cannot reach that, it is one
/// in the temporary folder, named after `parent`.
pub fn kept_folder(parent: &Path) -> Result<PathBuf, HarnessError> {
    let account = Account::of_servers()?;
    let wanted = parent.join("postgres");
    let path = if account.reaches(&wanted) {
        wanted
    } else {
        let mut hasher = DefaultHasher::new();
        parent.hash(&mut hasher);
        base(account)?.join(format!("kept-{:016x}", hasher.finish()))
    };
    match make(account, &path, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.doing(|| format!("making {}", path.display()))?,
    }
    path.canonicalize()
        .doing(|| format!("looking at {}", path.display()))
}

/// The folder that holds templates and run folders, where the servers' account can reach it.
pub(crate) fn base(account: Account) -> Result<PathBuf, HarnessError> {
    let name = format!("db-tests-{}", account.uid());
    let wanted = std::env::temp_dir().join(&name);
    let path = if account.reaches(&wanted) {
        wanted
    } else {
        Path::new("/tmp").join(&name)
    };
    match make(account, &path, 0o755) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.doing(|| format!("making {}", path.display()))?,
    }
    let meta = fs::symlink_metadata(&path).doing(|| format!("looking at {}", path.display()))?;
    if !meta.is_dir() || (meta.uid() != account.uid() && meta.uid() != 0) {
        let source = io::Error::other("the folder belongs to somebody else");
        return Err(HarnessError::Io {
            doing: format!("using {}", path.display()),
            source,
        });
    }
    Ok(path)
}

/// Waits until no other process makes, copies or sweeps folders. Never held across an await.
pub(crate) fn lock(account: Account) -> Result<File, HarnessError> {
    let path = base(account)?.join("lock");
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.and_then(|file| account.own(&path).map(|()| file));
    file.and_then(|file| file.lock().map(|()| file))
        .doing(|| format!("locking {}", path.display()))
}

/// Writes a file that only the servers' account (and root) can read.
pub(crate) fn write_private(account: Account, path: &Path, text: &str) -> Result<(), HarnessError> {
    let written = fs::remove_file(path)
        .or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                Ok(())
            } else {
                Err(error)
            }
        })
        .and_then(|()| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
        })
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| account.own(path));
    written.doing(|| format!("writing {}", path.display()))
}

/// 32 hexadecimal digits from the kernel.
pub(crate) fn random_word() -> Result<String, HarnessError> {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.doing(|| "reading /dev/urandom".to_owned())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn make(account: Account, path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    account.own(path)
}

fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let is_run = entry.file_name().as_encoded_bytes().starts_with(b"run-");
        let alive = File::open(entry.path().join(OWNER))
            .is_ok_and(|owner| matches!(owner.try_lock(), Err(fs::TryLockError::WouldBlock)));
        if is_run && !alive {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

const OWNER: &str = "owner";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_living_owner_is_swept_and_one_with_an_owner_stays() {
        let account = Account::of_servers().unwrap();
        let mine = RunFolder::create(account, "test").unwrap();
        let dead = base(account)
            .unwrap()
            .join(format!("run-test-{}", random_word().unwrap()));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(OWNER), "").unwrap();

        let _other = RunFolder::create(account, "test").unwrap();

        assert!(mine.path().exists());
        assert!(!dead.exists());
    }
}
