//! The options of a PgBouncer.

use std::fmt::Write;
use std::path::Path;

use super::BouncerBinary;

/// When PgBouncer takes the server's connection back from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PoolMode {
    /// When the client disconnects.
    Session,
    /// At the end of each transaction.
    #[default]
    Transaction,
    /// After each statement.
    Statement,
}

/// Mode, pool size and further settings; transaction mode with 20 server connections by default.
#[derive(Debug, Clone)]
pub struct BouncerOptions {
    mode: PoolMode,
    settings: Vec<(String, String)>,
    target: Option<u16>,
    asks_server: bool,
    pub(super) users: Vec<(String, String)>,
    pub(super) port: Option<u16>,
    pub(super) binary: Option<BouncerBinary>,
}

impl BouncerOptions {
    /// Another mode than the default.
    pub fn mode(mode: PoolMode) -> Self {
        Self {
            mode,
            settings: Vec::new(),
            target: None,
            asks_server: true,
            users: Vec::new(),
            port: None,
            binary: None,
        }
    }

    /// The number of server connections per database and role.
    #[must_use]
    pub fn pool_size(self, count: u32) -> Self {
        self.setting("default_pool_size", &count.to_string())
    }

    /// A line of the `[pgbouncer]` section.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A role and its password or SCRAM secret in the userlist, beside the superuser's.
    #[must_use]
    pub fn user(mut self, name: &str, secret: &str) -> Self {
        self.users.push((name.to_owned(), secret.to_owned()));
        self
    }

    /// Uses only the passwords of the userlist, and does not ask the server.
    #[must_use]
    pub fn without_auth_query(mut self) -> Self {
        self.asks_server = false;
        self
    }

    /// A role that may ask the console, with its password.
    #[must_use]
    pub fn stats_user(self, name: &str, password: &str) -> Self {
        self.user(name, password).setting("stats_users", name)
    }

    /// Another program than the one found first.
    #[must_use]
    pub fn binary(mut self, binary: BouncerBinary) -> Self {
        self.binary = Some(binary);
        self
    }

    /// The port to take when it is free.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Connects to this port, such as a proxy's, instead of the server's.
    #[must_use]
    pub fn target(mut self, port: u16) -> Self {
        self.target = Some(port);
        self
    }

    pub(super) fn ini(&self, port: u16, server: u16, folder: &Path) -> String {
        let mode = match self.mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
            PoolMode::Statement => "statement",
        };
        let target = self.target.unwrap_or(server);
        let users = folder.join("users.txt");
        let mut ini = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={target}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = scram-sha-256\n\
             auth_file = {}\n\
             admin_users = postgres\n\
             pool_mode = {mode}\n\
             max_client_conn = 1000\n\
             server_login_retry = 1\n",
            users.display()
        );
        if self.asks_server && !self.settings.iter().any(|(name, _)| name == "auth_query") {
            ini.push_str(
                "auth_user = postgres\n\
                 auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = $1\n",
            );
        }
        for (name, value) in &self.settings {
            // Writing to a String does not fail.
            let _ = writeln!(ini, "{name} = {value}");
        }
        ini
    }
}

impl Default for BouncerOptions {
    fn default() -> Self {
        Self::mode(PoolMode::default())
    }
}
