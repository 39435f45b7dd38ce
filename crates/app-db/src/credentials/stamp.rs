//! Stamps: the metadata of files, which shows that one was replaced without a look at its contents.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// The marks of several files; a missing file has no mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(PathBuf, Option<Mark>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
    /// Changes when the file's permissions change, and when another file replaces it.
    changed: (i64, i64),
    /// Whether the file changed only just now. Two writes within one tick of the file system's clock have the same
    /// times, so the mark of a young file changes once more when the file comes of age, and the source reads it again.
    is_young: bool,
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        let changed = Duration::new(
            metadata.ctime().try_into().unwrap_or_default(),
            metadata.ctime_nsec().try_into().unwrap_or_default(),
        );
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            is_young: now.is_ok_and(|now| now < changed + COMES_OF_AGE),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Stamp {
    /// The marks of these files, behind their symbolic links.
    pub(super) fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let mark = |file: PathBuf| {
            let mark = file.metadata().ok().map(|metadata| Mark::of(&metadata));
            (file, mark)
        };
        Self(files.into_iter().map(mark).collect())
    }

    /// The marks of all files in a directory, and of the directory behind its symbolic links.
    pub(super) fn of_directory(directory: &Path) -> Self {
        let Ok(resolved) = directory.canonicalize() else {
            return Self::default();
        };
        let entries = resolved.read_dir().into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
        files.sort();
        Self::of(std::iter::once(resolved).chain(files))
    }
}

/// The stamp from the last read of a source.
#[derive(Debug, Default)]
pub(super) struct LastSeen(Mutex<Stamp>);

impl LastSeen {
    /// Keeps a stamp that was taken before the read, so that the next look notices a write during the read.
    pub(super) fn set(&self, stamp: Stamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stamp;
    }

    /// Looks about every `poll`, and resolves when the stamp differs.
    pub(super) async fn differs(
        &self,
        poll: Duration,
        stamp: impl Fn() -> Stamp + Clone + Send + 'static,
    ) {
        loop {
            // A random part is taken off, so that the instances of a service do not all log in at the same time.
            sleep(poll.mul_f64(0.75 + fastrand::f64() / 4.0)).await;
            let Ok(now) = spawn_blocking(stamp.clone()).await else {
                continue;
            };
            if *self.0.lock().unwrap_or_else(PoisonError::into_inner) != now {
                return;
            }
        }
    }
}

/// Longer than a tick of any file system clock with fractions of a second.
const COMES_OF_AGE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that was read just after a write is read once more, so that a second write within the same tick and of
    /// the same size is noticed.
    #[tokio::test]
    async fn a_young_file_is_looked_at_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "first1").unwrap();
        let stamp = {
            let file = file.clone();
            move || Stamp::of([file.clone()])
        };
        let seen = LastSeen::default();
        seen.set(stamp());
        let again = seen.differs(Duration::from_millis(20), stamp.clone());
        let again = tokio::time::timeout(COMES_OF_AGE * 20, again).await;
        assert!(again.is_ok(), "nobody looks at it again");
        seen.set(stamp());
        let settled = seen.differs(Duration::from_millis(20), stamp.clone());
        let settled = tokio::time::timeout(COMES_OF_AGE, settled).await;
        assert!(settled.is_err(), "it is of age, and read again and again");
    }
}
