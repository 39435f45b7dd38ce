//! Stamps: what a file system says of files without their contents, to notice that one was replaced.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// The marks of several files; a file that is not there has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(PathBuf, Option<Mark>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
    /// It tells that the rights of a file have changed, and that one was put in the place of another.
    changed: (i64, i64),
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        Self {
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

    /// The marks of all files in a directory, and where it really is.
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

/// The stamp that was taken when a source was read last.
#[derive(Debug, Default)]
pub(super) struct LastSeen(Mutex<Stamp>);

impl LastSeen {
    /// Taken before reading: what is written meanwhile is noticed by the next look.
    pub(super) fn set(&self, stamp: Stamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stamp;
    }

    /// Looks every so often, and resolves when the stamp is another one.
    pub(super) async fn differs(
        &self,
        poll: Duration,
        stamp: impl Fn() -> Stamp + Clone + Send + 'static,
    ) {
        loop {
            // A little less each time, so that the instances of a service do not log in anew at once.
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
