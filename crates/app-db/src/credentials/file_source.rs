//! A file that somebody replaces.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::credentials::format::{self, trimmed};
use crate::credentials::source::{CredentialSource, CredentialsError, Fetched};
use crate::credentials::stamp::{LastSeen, Stamp};
use crate::credentials::values::{aside, read, read_if_there};

/// Reads the secret from one file; the next secret may stand beside it, in `<file>.next`.
#[derive(Debug)]
pub(super) struct FileSource {
    path: PathBuf,
    /// The user for a secret that names no user.
    user: String,
    poll: Duration,
    seen: Arc<LastSeen>,
}

impl FileSource {
    pub(super) fn new(path: PathBuf, user: String, poll: Duration) -> Self {
        Self {
            path,
            user,
            poll,
            seen: Arc::default(),
        }
    }

    pub(super) fn origin(&self) -> String {
        origin(&self.path)
    }
}

impl CredentialSource for FileSource {
    async fn fetch(&self) -> Result<Fetched, CredentialsError> {
        let (path, user, seen) = (self.path.clone(), self.user.clone(), Arc::clone(&self.seen));
        let shown = self.origin();
        let reading = move || {
            seen.set(stamp(&path));
            let text = read(&path, &origin(&path))?;
            let mut fetched = format::read(&text, &user, &origin(&path))?;
            let next = next(&path);
            if let Some(text) = read_if_there(&next, &origin(&next))?
                && !trimmed(&text).is_empty()
            {
                let next = format::read(&text, &user, &origin(&next))?;
                fetched.fallback.get_or_insert(next.credentials);
            }
            Ok(fetched)
        };
        aside(reading, &shown).await
    }

    async fn changed(&self) {
        let path = self.path.clone();
        self.seen.differs(self.poll, move || stamp(&path)).await;
    }
}

fn stamp(path: &Path) -> Stamp {
    Stamp::of([path.to_owned(), next(path)])
}

/// The file with the next secret.
fn next(path: &Path) -> PathBuf {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    next.into()
}

fn origin(path: &Path) -> String {
    format!("the file `{}`", path.display())
}
