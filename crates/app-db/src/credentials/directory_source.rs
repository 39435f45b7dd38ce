//! A directory with one file for each part of a secret.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use db_config::Credentials;
use zeroize::Zeroizing;

use crate::credentials::format::{self, trimmed};
use crate::credentials::source::{CredentialSource, CredentialsError, CredentialsProblem, Fetched};
use crate::credentials::stamp::{LastSeen, Stamp};
use crate::credentials::values::{aside, read_if_there, unreadable};

/// Reads the files `username`, `password`, `host`, `port` and `uri` of a directory: a mounted Kubernetes Secret of the
/// type `basic-auth`, a Secret of CloudNativePG, or a Service Binding.
#[derive(Debug)]
pub(super) struct DirectorySource {
    place: Place,
    /// The user for a secret that names no user.
    user: String,
    poll: Duration,
    seen: Arc<LastSeen>,
}

/// Where the directory is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    At(PathBuf),
    /// The one binding of the type `postgresql` in this directory.
    BindingIn(PathBuf),
}

impl DirectorySource {
    pub(super) fn new(place: Place, user: String, poll: Duration) -> Self {
        Self {
            place,
            user,
            poll,
            seen: Arc::default(),
        }
    }

    pub(super) fn origin(&self) -> String {
        origin(self.place.path())
    }
}

impl CredentialSource for DirectorySource {
    async fn fetch(&self) -> Result<Fetched, CredentialsError> {
        let (place, user, seen) = (
            self.place.clone(),
            self.user.clone(),
            Arc::clone(&self.seen),
        );
        let shown = self.origin();
        aside(move || read(&place, &user, &seen), &shown).await
    }

    async fn changed(&self) {
        let place = self.place.clone();
        let stamp = move || place.find().map(|found| stamp(&found)).unwrap_or_default();
        self.seen.differs(self.poll, stamp).await;
    }
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::At(path) | Self::BindingIn(path) => path,
        }
    }

    /// The directory of the secret.
    fn find(&self) -> Result<PathBuf, CredentialsError> {
        let root = match self {
            Self::At(path) => return Ok(path.clone()),
            Self::BindingIn(root) => root,
        };
        let shown = origin(root);
        let entries = root
            .read_dir()
            .map_err(|error| unreadable(&shown, &error))?;
        let mut bindings: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                let kind = read_if_there(&path.join("type"), &shown).ok().flatten();
                kind.is_some_and(|kind| is_postgresql(&kind))
            })
            .collect();
        bindings.sort();
        match bindings.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(CredentialsError::of(&shown, CredentialsProblem::Incomplete)
                .explained("it has no binding of the type postgresql")),
            several => {
                let names: Vec<_> = several
                    .iter()
                    .filter_map(|path| path.file_name())
                    .map(|name| name.to_string_lossy())
                    .collect();
                Err(CredentialsError::of(&shown, CredentialsProblem::Malformed).explained(format!(
                    "it has several bindings of the type postgresql ({}); expected `credentials.path` to name one",
                    names.join(", ")
                )))
            }
        }
    }
}

fn is_postgresql(kind: &str) -> bool {
    matches!(
        &*kind.trim().to_ascii_lowercase(),
        "postgres" | "postgresql"
    )
}

/// Reads again until nothing changes between the first file and the last.
fn read(place: &Place, user: &str, seen: &LastSeen) -> Result<Fetched, CredentialsError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let directory = match place.find() {
            Ok(directory) => directory,
            Err(error) => {
                seen.set(Stamp::default());
                return Err(error);
            }
        };
        let before = stamp(&directory);
        seen.set(before.clone());
        let outcome = read_version(&directory, user);
        if stamp(&directory) == before || tries == TRIES {
            return outcome;
        }
    }
}

/// Reads the files of one version: Kubernetes puts each version into its own folder and moves a symbolic link.
fn read_version(directory: &Path, user: &str) -> Result<Fetched, CredentialsError> {
    let shown = origin(directory);
    let version = version(directory).map_err(|error| unreadable(&shown, &error))?;
    let value = |name: &str| -> Result<Option<Zeroizing<String>>, CredentialsError> {
        let file = version.join(name);
        let shown = format!("the file `{}`", directory.join(name).display());
        let text = read_if_there(&file, &shown)?;
        let text = text.map(|text| Zeroizing::new(trimmed(&text).to_owned()));
        Ok(text.filter(|text| !text.is_empty()))
    };
    if let Some(kind) = value("type")?
        && !is_postgresql(&kind)
        && !kind.starts_with("kubernetes.io/")
    {
        return Err(CredentialsError::of(&shown, CredentialsProblem::Malformed)
            .explained("it is a binding of another type; expected postgresql"));
    }
    let name = value("username")?;
    let name = name.as_ref().map_or(user, |name| name);
    let password = value("password")?;
    let mut fetched = match (&password, value("uri")?) {
        (Some(password), _) => Fetched::new(Credentials::new(name, password.as_str())),
        (None, Some(uri)) => {
            let shown = format!("the file `{}`", directory.join("uri").display());
            format::read_url(&uri, &shown)?
        }
        (None, None) => {
            let file = directory.join("password");
            let problem = match file.exists() {
                true => CredentialsError::of(
                    &format!("the file `{}`", file.display()),
                    CredentialsProblem::Empty,
                ),
                false => CredentialsError::of(&shown, CredentialsProblem::Incomplete)
                    .explained("it has no file `password`, and no `uri`"),
            };
            return Err(problem);
        }
    };
    if let Some(host) = value("host")? {
        fetched.host = Some(host.trim().to_owned());
    }
    if let Some(port) = value("port")? {
        let port = port.trim().parse().map_err(|_| {
            let shown = format!("the file `{}`", directory.join("port").display());
            CredentialsError::of(&shown, CredentialsProblem::Malformed).explained("expected a port")
        })?;
        fetched.port = Some(port);
    }
    if let Some(next) = value("password.next")? {
        let name_after = value("username.next")?;
        let name = name_after.as_ref().map_or(name, |name| name);
        fetched = fetched.or(Credentials::new(name, next.as_str()));
    }
    Ok(fetched)
}

/// The folder with the files of the current version.
fn version(directory: &Path) -> io::Result<PathBuf> {
    let linked = directory.join(DATA);
    match linked.canonicalize() {
        Ok(version) => Ok(version),
        Err(error) if error.kind() == io::ErrorKind::NotFound => directory.canonicalize(),
        Err(error) => Err(error),
    }
}

fn stamp(directory: &Path) -> Stamp {
    match version(directory) {
        Ok(version) => Stamp::of_directory(&version),
        Err(_) => Stamp::default(),
    }
}

fn origin(path: &Path) -> String {
    format!("the directory `{}`", path.display())
}

/// The link that Kubernetes moves from one version to the next.
const DATA: &str = "..data";

/// How often the source reads a directory that changes during the read.
const TRIES: u32 = 5;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Puts a version in place as the kubelet does.
    fn mount(directory: &Path, version: u32) {
        let name = format!("..{version}");
        let folder = directory.join(&name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("username"), format!("user{version}")).unwrap();
        fs::write(folder.join("password"), format!("password{version}")).unwrap();
        symlink(&name, directory.join("..data_tmp")).unwrap();
        fs::rename(directory.join("..data_tmp"), directory.join(DATA)).unwrap();
        if version > 0 {
            fs::remove_dir_all(directory.join(format!("..{}", version - 1))).unwrap();
        }
    }

    /// Ends the swapping.
    struct Ending<'a>(&'a AtomicBool);

    impl Drop for Ending<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// case R43: the source never reads the user of one version with the password of another.
    #[test]
    fn user_and_password_are_of_one_version() {
        let secrets = tempfile::tempdir().unwrap();
        mount(secrets.path(), 0);
        let done = AtomicBool::new(false);
        let (place, seen) = (Place::At(secrets.path().to_owned()), LastSeen::default());
        let mut versions = std::collections::BTreeSet::new();
        let mut whole = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut version = 0;
                while !done.load(Ordering::Relaxed) {
                    version += 1;
                    mount(secrets.path(), version);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            // Ends the swapping even if an assertion fails.
            let _ending = Ending(&done);
            while whole < 10_000 || versions.len() < 50 {
                // A version that is removed before it is read is no answer; the next version follows.
                let Ok(fetched) = read(&place, "nobody", &seen) else {
                    continue;
                };
                let version = fetched.credentials.user().strip_prefix("user").unwrap();
                let expected = format!("password{version}");
                let expected = Credentials::new(fetched.credentials.user(), expected);
                assert!(
                    fetched.credentials.are(&expected),
                    "one of each: user{version}"
                );
                versions.insert(version.to_owned());
                whole += 1;
            }
        });
    }
}
