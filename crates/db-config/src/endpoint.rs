//! Where and how to connect. An endpoint is the parsed form of a URL.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::credentials::Credentials;

/// Everything a connection needs. Every part means what it means to libpq.
///
/// `Debug` and `Display` show it as a URL with the password as `***`.
#[derive(Clone)]
#[non_exhaustive]
pub struct Endpoint {
    /// The servers; there is at least one. They are tried in this order, unless
    /// `load_balance_hosts` is set.
    pub hosts: Vec<Host>,
    /// The database. It has the name of the user if the URL names none.
    pub dbname: String,
    /// The role to log in as.
    pub user: String,
    /// The password, if one is known.
    pub password: Option<SecretString>,
    /// Whether and how the connection is encrypted and the server verified.
    pub tls: Tls,
    /// How long connecting to one host may take. `None` means for ever.
    pub connect_timeout: Option<Duration>,
    /// How long sent data may stay unacknowledged before the kernel closes the connection.
    pub tcp_user_timeout: Option<Duration>,
    /// Whether TCP keepalive is on.
    pub keepalives: bool,
    /// Idle time before the first keepalive probe.
    pub keepalives_idle: Option<Duration>,
    /// Time between keepalive probes.
    pub keepalives_interval: Option<Duration>,
    /// How many lost probes end the connection.
    pub keepalives_retries: Option<u32>,
    /// Which of the hosts are acceptable.
    pub target_session_attrs: TargetSessionAttrs,
    /// Whether the hosts are tried in random order.
    pub load_balance_hosts: bool,
    /// The name shown in `pg_stat_activity`.
    pub application_name: Option<String>,
    /// Server settings that the URL asks for: `options=-c name=value`, `search_path`, and so on.
    pub settings: BTreeMap<String, String>,
    /// The part of the URL that suggests a pooler, if any: "port 6543", "`-pooler` in the host".
    pub pooler_hint: Option<String>,
    /// `connection_limit`: how many connections the provider of the URL allows one pool.
    pub connection_limit: Option<u32>,
    /// `pool_timeout`: the longest time that a caller waits for a connection of the pool.
    pub pool_timeout: Option<Duration>,
}

impl Endpoint {
    /// The same endpoint with another user and password.
    #[must_use]
    pub fn with_credentials(&self, credentials: &Credentials) -> Endpoint {
        Endpoint {
            user: credentials.user().to_owned(),
            password: Some(credentials.password().clone()),
            ..self.clone()
        }
    }

    /// Also trusts the certificates in this PEM text, in addition to the file of the URL or the system's
    /// certificates. It is for a service that contains the authority of its provider (`include_bytes!`).
    ///
    /// They count if the server is verified: with `verify-ca` and `verify-full`.
    #[must_use]
    pub fn trusting(mut self, pem: impl Into<Vec<u8>>) -> Endpoint {
        self.tls.extra_roots.push(pem.into());
        self
    }

    /// Whether every host is a loopback address or a Unix socket.
    pub fn is_local(&self) -> bool {
        self.hosts.iter().all(Host::is_local)
    }

    /// `host:port/dbname`, without user and password.
    pub fn address(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        format!("{}/{}", hosts.join(","), self.dbname)
    }
}

/// One server of an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "PostgreSQL listens on TCP and on Unix sockets and on nothing else"
)]
pub enum Host {
    /// A TCP host.
    Tcp {
        /// The name to resolve. With `verify-full` the server's certificate has to contain it.
        name: String,
        /// The address to connect to, so that the name is not resolved: libpq's `hostaddr`.
        addr: Option<IpAddr>,
        /// The port.
        port: u16,
    },
    /// A Unix socket `<dir>/.s.PGSQL.<port>`.
    Unix {
        /// The directory of the socket.
        dir: PathBuf,
        /// The number in the socket's name.
        port: u16,
    },
}

impl Host {
    /// Whether the server is on this machine, at a Unix socket or a loopback address.
    pub fn is_local(&self) -> bool {
        match self {
            Host::Unix { .. } => true,
            Host::Tcp {
                addr: Some(addr), ..
            } => addr.is_loopback(),
            Host::Tcp { name, .. } => match name.parse::<IpAddr>() {
                Ok(addr) => addr.is_loopback(),
                Err(_) => name.eq_ignore_ascii_case("localhost"),
            },
        }
    }

    /// The port. A Unix socket has one in its name.
    pub fn port(&self) -> u16 {
        match self {
            Host::Tcp { port, .. } | Host::Unix { port, .. } => *port,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp { name, port, .. } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Host::Tcp { name, port, .. } => write!(f, "{name}:{port}"),
            Host::Unix { dir, port } => write!(f, "{}:{port}", dir.display()),
        }
    }
}

/// How the connection is encrypted and the server verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Tls {
    /// libpq's `sslmode`.
    pub mode: TlsMode,
    /// The file of trusted certificates. `None` means the system's store.
    pub root_cert: Option<PathBuf>,
    /// Further trusted certificates, as PEM: see [`Endpoint::trusting`].
    #[serde(skip)]
    pub extra_roots: Vec<Vec<u8>>,
    /// The client's certificate and its key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Whether TLS starts at once, without asking the server first: `sslnegotiation=direct`.
    pub direct: bool,
    /// Whether the login is bound to the TLS channel.
    pub channel_binding: ChannelBinding,
}

/// libpq's `sslmode`, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    clippy::exhaustive_enums,
    reason = "libpq's six modes are a closed set"
)]
pub enum TlsMode {
    /// Never TLS.
    Disable,
    /// TLS only if the server insists.
    Allow,
    /// TLS if the server offers it, plain text otherwise.
    #[default]
    Prefer,
    /// TLS, without verifying the server.
    Require,
    /// TLS, and a trusted authority must have signed the server's certificate.
    VerifyCa,
    /// Like `VerifyCa`, and the certificate must also name the host.
    VerifyFull,
}

impl TlsMode {
    /// The mode as a value of `sslmode`.
    pub fn as_str(self) -> &'static str {
        match self {
            TlsMode::Disable => "disable",
            TlsMode::Allow => "allow",
            TlsMode::Prefer => "prefer",
            TlsMode::Require => "require",
            TlsMode::VerifyCa => "verify-ca",
            TlsMode::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// libpq's `channel_binding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "libpq's three values are a closed set"
)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If the server offers it.
    #[default]
    Prefer,
    /// Always. A server that cannot do it is refused.
    Require,
}

impl ChannelBinding {
    /// The value of `channel_binding`.
    pub fn as_str(self) -> &'static str {
        match self {
            ChannelBinding::Disable => "disable",
            ChannelBinding::Prefer => "prefer",
            ChannelBinding::Require => "require",
        }
    }
}

impl fmt::Display for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// libpq's `target_session_attrs`: the property that an acceptable host must have.
///
/// A primary with `default_transaction_read_only = on` accepts no writes, so it is `Primary` and
/// `ReadOnly`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetSessionAttrs {
    /// Any. The first host that answers is taken.
    #[default]
    Any,
    /// A host whose sessions accept writes by default.
    ReadWrite,
    /// A host whose sessions accept no writes by default.
    ReadOnly,
    /// A host that is not in recovery.
    Primary,
    /// A host that is in recovery.
    Standby,
    /// A standby if one of the hosts is one, otherwise any host.
    PreferStandby,
}

impl TargetSessionAttrs {
    /// The value of `target_session_attrs`.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetSessionAttrs::Any => "any",
            TargetSessionAttrs::ReadWrite => "read-write",
            TargetSessionAttrs::ReadOnly => "read-only",
            TargetSessionAttrs::Primary => "primary",
            TargetSessionAttrs::Standby => "standby",
            TargetSessionAttrs::PreferStandby => "prefer-standby",
        }
    }
}

impl fmt::Display for TargetSessionAttrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}
