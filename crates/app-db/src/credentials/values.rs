//! Reads the values of a secret from files.

use std::io;
use std::path::Path;

use db_config::read_secret_file;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::credentials::source::{CredentialsError, CredentialsProblem, MOST};

/// Reads a file as text, in memory that is wiped.
pub(super) fn read(path: &Path, origin: &str) -> Result<Zeroizing<String>, CredentialsError> {
    let bytes = read_secret_file(path, MOST).map_err(|error| unreadable(origin, &error))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        CredentialsError::of(origin, CredentialsProblem::Malformed).explained("it is not UTF-8")
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Like [`read`], but the file may be missing.
pub(super) fn read_if_there(
    path: &Path,
    origin: &str,
) -> Result<Option<Zeroizing<String>>, CredentialsError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => read(path, origin).map(Some),
    }
}

pub(super) fn unreadable(origin: &str, error: &io::Error) -> CredentialsError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => CredentialsError::of(origin, CredentialsProblem::TooLong),
        io::ErrorKind::IsADirectory => CredentialsError::of(origin, CredentialsProblem::Unreadable)
            .explained("it is a directory; expected `credentials.source` to be \"directory\""),
        kind => {
            CredentialsError::of(origin, CredentialsProblem::Unreadable).explained(kind.to_string())
        }
    }
}

/// Runs a read on a blocking thread, as a file system may hang.
pub(super) async fn aside<T: Send + 'static>(
    reading: impl FnOnce() -> Result<T, CredentialsError> + Send + 'static,
    origin: &str,
) -> Result<T, CredentialsError> {
    match spawn_blocking(reading).await {
        Ok(outcome) => outcome,
        Err(_panic) => Err(CredentialsError::of(origin, CredentialsProblem::Panicked)),
    }
}
