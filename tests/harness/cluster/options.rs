//! The options of a private cluster.

use std::fs;
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::error::Doing;
use crate::folder::write_private;
use crate::{Binaries, Certificate, HarnessError};

/// Settings, access rules and TLS of a cluster to start.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    settings: Vec<(String, String)>,
    hba: Vec<String>,
    tls: Option<Certificate>,
    pub(super) binaries: Option<Binaries>,
    pub(super) folder: Option<PathBuf>,
    pub(super) language: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) is_unrelated: bool,
}

impl ClusterOptions {
    /// A server setting, as with `postgres -c`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The server's limit of connections. Three of them are reserved for the superuser.
    #[must_use]
    pub fn max_connections(self, count: u32) -> Self {
        self.setting("max_connections", &count.to_string())
    }

    /// A line of `pg_hba.conf`, before the existing ones. The superuser always has access.
    #[must_use]
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }

    /// Lets the server speak TLS with a certificate, and trust client certificates of its authority.
    #[must_use]
    pub fn tls(mut self, certificate: Certificate) -> Self {
        self.tls = Some(certificate);
        self
    }

    /// The language of the server's messages, as a locale without its encoding: `de_DE`.
    ///
    /// Starting fails if the machine cannot make the locale. If PostgreSQL's translations are not
    /// installed, the server still reports in English.
    #[must_use]
    pub fn language(mut self, locale: &str) -> Self {
        self.language = Some(locale.to_owned());
        self
    }

    /// Another installation than the one found first.
    #[must_use]
    pub fn binaries(mut self, binaries: Binaries) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// Keeps the data in an existing folder, and syncs them to disk: for development, not for tests.
    #[must_use]
    pub fn kept_in(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// The port to take when it is free.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Gives the cluster a system identifier of its own. All other clusters are copies of one template and share its
    /// identifier. This costs 700 ms more.
    #[must_use]
    pub fn unrelated(mut self) -> Self {
        self.is_unrelated = true;
        self
    }

    /// The `name=value` pairs for the command line.
    pub(super) fn settings(&self) -> impl Iterator<Item = String> {
        // synchronous_commit and full_page_writes stay on: replicas and pg_rewind need them.
        let fixed = ["listen_addresses=127.0.0.1", "unix_socket_directories="].map(str::to_owned);
        let fsync = self.folder.is_none().then(|| "fsync=off".to_owned());
        let tls = self.tls.iter().flat_map(|_| {
            let files = [
                ("cert", SERVER_CERT),
                ("key", SERVER_KEY),
                ("ca", ROOT_CERT),
            ];
            let files = files.map(|(what, file)| format!("ssl_{what}_file=../{file}"));
            std::iter::once("ssl=on".to_owned()).chain(files)
        });
        let language = self.language.iter().map(|locale| {
            let locale = super::locale::in_utf8(locale);
            format!("lc_messages={locale}")
        });
        let own = self
            .settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        fixed
            .into_iter()
            .chain(fsync)
            .chain(tls)
            .chain(language)
            .chain(own)
    }

    /// Writes the certificate into `home` and the access rules into `data`.
    pub(super) fn write_files(
        &self,
        account: Account,
        home: &Path,
        data: &Path,
    ) -> Result<(), HarnessError> {
        if let Some(certificate) = &self.tls {
            write_certificate(account, home, certificate)?;
        }
        if self.hba.is_empty() {
            return Ok(());
        }
        let rules = with_hba(data, &self.hba)?;
        write_private(account, &data.join(HBA), &rules)
    }
}

/// The access rules, with these before the present ones.
pub(super) fn with_hba(data: &Path, lines: &[String]) -> Result<String, HarnessError> {
    let file = data.join(HBA);
    let standing = fs::read_to_string(&file).doing(|| format!("reading {}", file.display()))?;
    let superuser = "host all postgres 127.0.0.1/32 scram-sha-256";
    Ok(format!("{superuser}\n{}\n{standing}", lines.join("\n")))
}

pub(super) fn write_certificate(
    account: Account,
    home: &Path,
    certificate: &Certificate,
) -> Result<(), HarnessError> {
    write_private(account, &home.join(SERVER_CERT), &certificate.cert)?;
    write_private(account, &home.join(SERVER_KEY), &certificate.key)?;
    write_private(account, &home.join(ROOT_CERT), &certificate.authority)
}

pub(super) const HBA: &str = "pg_hba.conf";
pub(super) const ROOT_CERT: &str = "root.pem";
const SERVER_CERT: &str = "server.pem";
const SERVER_KEY: &str = "server.key";
