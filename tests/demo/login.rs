//! The service's login and the file that tells the service its URL.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use harness::{AppServers, Bouncer, url};

use crate::error::{DemoError, Doing};

/// The role `app`, whose password changes.
///
/// It has no `Debug`, because it holds every password that was used.
pub(crate) struct Login<'a> {
    servers: &'a AppServers,
    file: PathBuf,
    current: String,
    former: Vec<String>,
}

impl<'a> Login<'a> {
    /// Gives the role its first password and writes the file in `folder`.
    pub(crate) async fn new(servers: &'a AppServers, folder: &Path) -> Result<Self, DemoError> {
        let file = folder.join("database-url");
        let mut login = Self {
            servers,
            file,
            current: String::new(),
            former: Vec::new(),
        };
        login.renew().await?;
        Ok(login)
    }

    /// Changes the password in the server, then in the file.
    pub(crate) async fn renew(&mut self) -> Result<(), DemoError> {
        let password = random_word().doing(|| "making a password".to_owned())?;
        let alter = format!("ALTER ROLE app PASSWORD '{password}'");
        self.servers.cluster().sql(&alter).await?;
        self.former
            .push(std::mem::replace(&mut self.current, password));
        write_whole(&self.file, &self.pooled_url())
            .doing(|| format!("writing {}", self.file.display()))
    }

    /// The file with the present pooled URL, readable by this account alone.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The URL straight to the server.
    pub(crate) fn direct_url(&self) -> String {
        url(self.servers.cluster().port(), "app", "app", &self.current)
    }

    fn pooled_url(&self) -> String {
        let port = self
            .servers
            .bouncer()
            .map_or(self.servers.cluster().port(), Bouncer::port);
        url(port, "app", "app", &self.current)
    }

    /// How often a text contains one of the passwords, including the superuser's.
    pub(crate) fn passwords_in(&self, text: &str) -> usize {
        let known = self
            .former
            .iter()
            .chain([&self.current])
            .map(String::as_str);
        let known = known.filter(|password| !password.is_empty());
        known
            .chain([self.servers.cluster().password()])
            .map(|word| text.matches(word).count())
            .sum()
    }
}

/// Writes the file so that a reader gets either the whole old text or the whole new one.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let growing = path.with_extension("growing");
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&growing)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&growing, path)
}

/// 32 hexadecimal digits from the kernel.
pub(crate) fn random_word() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
