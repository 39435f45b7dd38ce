//! Why one attempt to connect failed.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use db_wire::ServerError;
use tokio_postgres::error::SqlState;

use crate::connect::certificate_problem::CertificateProblem;
use crate::connect::stage::ConnectStage;

/// Why one attempt to connect failed.
#[derive(Clone)]
pub struct ConnectError(Box<Details>);

#[derive(Clone)]
struct Details {
    address: Arc<str>,
    failure: ConnectFailure,
    stage: Option<ConnectStage>,
    sqlstate: Option<SqlState>,
    detail: Option<Arc<str>>,
    certificate: Option<CertificateProblem>,
}

/// What failed while connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// No TCP connection was made, or it broke before the session was ready.
    Unreachable,
    /// The host's name has no address.
    UnknownHost,
    /// Not ready within the connect timeout.
    TimedOut,
    /// The certificate, the key or the TLS handshake was refused by either side.
    Tls,
    /// The server refused user, password or authentication method (28P01; 28000 of PAM or of a locked role; a
    /// pooler's 08P01).
    Authentication,
    /// No rule of the server's `pg_hba.conf` lets this user in from here (28000). Other credentials do not help.
    NotAdmitted,
    /// The database does not exist (3D000).
    NoSuchDatabase,
    /// The server has no connection left for this user (53300).
    TooManyConnections,
    /// The server is starting up, shutting down or recovering (57P03).
    Unavailable,
    /// There is a pooler, and clients behind it receive no notifications.
    Pooler,
    /// The server refused for another reason.
    Refused,
    /// Sessions do not have the pool's settings, and this pool may not send them.
    Settings,
    /// The server refuses a setting, a role or a right that the session needs (classes 0A, 22, 28, 3F, 42).
    Rejected,
    /// The peer does not speak PostgreSQL's protocol.
    NotPostgres,
    /// This process or its machine has no file descriptor left for a socket (EMFILE, ENFILE).
    NoDescriptors,
    /// The task that connects panicked. That is a defect of this library or of a callback in it.
    Panicked,
}

impl ConnectError {
    pub(crate) fn new(address: &str, failure: ConnectFailure) -> Self {
        Self(Box::new(Details {
            address: address.into(),
            failure,
            stage: None,
            sqlstate: None,
            detail: None,
            certificate: None,
        }))
    }

    /// Sets how far the attempt came, unless that is set already.
    pub(crate) fn at(mut self, stage: ConnectStage) -> Self {
        self.0.stage.get_or_insert(stage);
        self
    }

    /// The error if the name of the host was not resolved.
    pub(crate) fn unresolved(address: &str, error: &io::Error) -> Self {
        let failure = match lacks_descriptors(error) {
            true => ConnectFailure::NoDescriptors,
            false => ConnectFailure::UnknownHost,
        };
        Self::new(address, failure).explained(error.to_string())
    }

    pub(crate) fn explained(mut self, detail: impl Into<Arc<str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the likely cause if a name has only IPv6 addresses and none can be reached.
    pub(crate) fn with_ipv6_alone(self) -> Self {
        match self.0.failure {
            ConnectFailure::Unreachable | ConnectFailure::TimedOut => {
                let detail = self.0.detail.as_deref().unwrap_or("not reached");
                let detail = format!("{detail}; its name has only IPv6 addresses: {IPV6_ALONE}");
                self.explained(detail)
            }
            _ => self,
        }
    }

    pub(crate) fn because(mut self, sent: &ServerError) -> Self {
        if self.0.failure == ConnectFailure::Refused && never_heals(sent.sqlstate()) {
            self.0.failure = ConnectFailure::Rejected;
        }
        self.0.sqlstate = Some(sent.sqlstate().clone());
        self.0.detail = Some(sent.message().into());
        self
    }

    /// Classifies an error of tokio-postgres by the server's answer, or by the broken part.
    pub(crate) fn from_postgres(address: &str, error: &tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            let mut chain = Vec::new();
            // These are texts of the driver, which does not publish the kinds of its errors.
            let mut failure = match error.to_string().as_str() {
                "invalid configuration" | "authentication error" => ConnectFailure::Authentication,
                "unexpected message from server" | "error parsing response from server" => {
                    ConnectFailure::NotPostgres
                }
                _ => ConnectFailure::Unreachable,
            };
            let mut certificate = None;
            let mut cause: Option<&(dyn StdError + 'static)> = error.source();
            while let Some(error) = cause {
                if is_about_tls(error) {
                    failure = ConnectFailure::Tls;
                } else if error.to_string() == LACKS_TLS {
                    let refused = Self::new(address, ConnectFailure::Tls);
                    return refused.explained("the server does not speak TLS");
                } else if error.downcast_ref().is_some_and(is_no_postgres) {
                    failure = ConnectFailure::NotPostgres;
                } else if error.downcast_ref().is_some_and(lacks_descriptors) {
                    failure = ConnectFailure::NoDescriptors;
                }
                certificate = certificate.or(CertificateProblem::of(error));
                chain.push(error.to_string());
                cause = error.source();
            }
            // An `io::Error` repeats the text of its inner error, so one copy is removed.
            chain.dedup();
            let detail = if chain.is_empty() {
                error.to_string()
            } else {
                chain.join(": ")
            };
            let detail = match detail.as_str() {
                "password missing" => "it asks for a password, and none is configured".to_owned(),
                _ => detail,
            };
            let mut sorted = Self::new(address, failure).explained(detail);
            sorted.0.certificate = certificate;
            return sorted;
        };
        let failure = match db.code() {
            // The routine distinguishes this from a locked role and from PAM, whatever the language of the message.
            code if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
                && db.routine() == Some("ClientAuthentication") =>
            {
                ConnectFailure::NotAdmitted
            }
            code if *code == SqlState::INVALID_PASSWORD
                || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
            {
                ConnectFailure::Authentication
            }
            code if *code == SqlState::INVALID_CATALOG_NAME => ConnectFailure::NoSuchDatabase,
            // A pooler has one code for every refusal: unlike PostgreSQL, it sends 08P01 and no routine.
            code if *code == SqlState::PROTOCOL_VIOLATION
                && db.routine().is_none()
                && let Some(failure) = said_by_pooler(db.message()) =>
            {
                failure
            }
            code if *code == SqlState::TOO_MANY_CONNECTIONS => ConnectFailure::TooManyConnections,
            code if *code == SqlState::CANNOT_CONNECT_NOW => ConnectFailure::Unavailable,
            code if never_heals(code) => ConnectFailure::Rejected,
            _ => ConnectFailure::Refused,
        };
        Self(Box::new(Details {
            address: address.into(),
            failure,
            stage: None,
            sqlstate: Some(db.code().clone()),
            detail: Some(db.message().into()),
            certificate: None,
        }))
    }

    /// What failed.
    #[must_use]
    pub fn failure(&self) -> ConnectFailure {
        self.0.failure
    }

    /// How far the attempt came.
    #[must_use]
    pub fn stage(&self) -> ConnectStage {
        self.0.stage.unwrap_or_default()
    }

    /// The server's SQLSTATE, if the server answered with an error.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&SqlState> {
        self.0.sqlstate.as_ref()
    }

    /// The problem of the certificate, if the handshake failed because of one.
    #[must_use]
    pub fn certificate_problem(&self) -> Option<CertificateProblem> {
        self.0.certificate
    }

    /// Whether trying again with the same settings is pointless.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(
            self.0.failure,
            ConnectFailure::Authentication
                | ConnectFailure::NotAdmitted
                | ConnectFailure::NoSuchDatabase
                | ConnectFailure::Rejected
                | ConnectFailure::Settings
                | ConnectFailure::Tls
                | ConnectFailure::Pooler
        )
    }

    /// Whether the server was not reached, or is not of the wanted kind. Either says nothing about the credentials.
    #[must_use]
    pub fn is_unreached(&self) -> bool {
        matches!(
            self.0.failure,
            ConnectFailure::Unreachable
                | ConnectFailure::UnknownHost
                | ConnectFailure::TimedOut
                | ConnectFailure::Unavailable
        )
    }

    /// Whether the server has refused this user's login for a lasting reason: the credentials, or their rights.
    #[must_use]
    pub fn is_refusal_of_login(&self) -> bool {
        matches!(
            self.0.failure,
            ConnectFailure::Authentication
                | ConnectFailure::NotAdmitted
                | ConnectFailure::NoSuchDatabase
                | ConnectFailure::Rejected
        )
    }

    /// Whether other credentials may help.
    #[must_use]
    pub fn is_refusal_of_credentials(&self) -> bool {
        self.0.failure == ConnectFailure::Authentication
    }
}

const IPV6_ALONE: &str = "if this machine has only IPv4, use a host that has an IPv4 address; the poolers of many \
     providers have one";

/// The text of tokio-postgres' own error type for a server that has no TLS although TLS was asked for.
const LACKS_TLS: &str = "server does not support TLS";

/// The SQLSTATE classes, and one code, that a server returns again and again for the same session.
const NEVER_HEALS: [&str; 6] = ["0A", "22", "28", "3F", "42", "55P02"];

fn never_heals(code: &SqlState) -> bool {
    NEVER_HEALS
        .iter()
        .any(|class| code.code().starts_with(class))
}

/// Whether the wire did not understand the first bytes.
fn is_no_postgres(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// EMFILE or ENFILE.
fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23))
}

fn is_about_tls(error: &(dyn StdError + 'static)) -> bool {
    // An `io::Error` does not return its wrapped error as its source.
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>()
        || error.is::<TlsRefused>()
        || wrapped.is_some_and(<dyn StdError + Send + Sync>::is::<rustls::Error>)
}

/// Whether the cause of a refused login may be a parameter of the startup packet. Some poolers and proxies do not
/// accept all parameters: RDS Proxy refuses `options` with 0A000, PgBouncer with 08P01, and others use other codes.
/// PostgreSQL itself accepts them, names its routine if one of them is wrong, and never sends 0A000 at login.
pub(crate) fn may_refuse_parameters(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|refusal| {
        let words = ["parameter", "option", "startup", "setting", "supported"];
        let message = refusal.message().to_ascii_lowercase();
        let is_about_them = || words.iter().any(|word| message.contains(word));
        *refusal.code() == SqlState::FEATURE_NOT_SUPPORTED
            || (refusal.routine().is_none() && is_about_them())
    })
}

/// The meaning of a pooler's refusal, if trying again does not help. A pooler refuses with fixed English texts, or
/// passes on the server's text without its code.
fn said_by_pooler(message: &str) -> Option<ConnectFailure> {
    let says = |words: &[&str]| words.iter().all(|word| message.contains(word));
    let failure = if says(&["no such database"]) || says(&["database \"", "\" does not exist"]) {
        ConnectFailure::NoSuchDatabase
    } else if CREDENTIALS_REFUSED.iter().any(|words| says(words)) {
        ConnectFailure::Authentication
    } else if says(&["no pg_hba.conf entry"]) {
        ConnectFailure::NotAdmitted
    } else if says(&["permission denied for database"]) {
        ConnectFailure::Rejected
    } else {
        return None;
    };
    Some(failure)
}

const CREDENTIALS_REFUSED: [&[&str]; 5] = [
    // SASL, password, PAM, LDAP, ..
    &["authentication failed"],
    &["no such user"],
    &["auth failed"],
    &["role \"", "\" does not exist"],
    &["is not permitted to log in"],
];

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0.failure {
            ConnectFailure::Unreachable => "is not reachable",
            ConnectFailure::UnknownHost => "is not found: its name is not resolved",
            ConnectFailure::TimedOut => "did not answer within the connect timeout",
            ConnectFailure::Tls => "and this client do not agree on TLS",
            ConnectFailure::Authentication => "refuses these credentials",
            ConnectFailure::NotAdmitted => "does not let this client in by its pg_hba.conf",
            ConnectFailure::NoSuchDatabase => "has no such database",
            ConnectFailure::TooManyConnections => "has no connection left",
            ConnectFailure::Unavailable => "does not accept connections for now",
            ConnectFailure::Pooler => "leads to a pooler, which passes no notifications on",
            ConnectFailure::Refused => "refuses the connection",
            ConnectFailure::Settings => "does not have the settings of this pool",
            ConnectFailure::Rejected => "refuses a session with these settings",
            ConnectFailure::NotPostgres => "was reached, and does not speak PostgreSQL",
            ConnectFailure::NoDescriptors => "was not reached: there is no file descriptor left",
            ConnectFailure::Panicked => "was not reached: the task that connects panicked",
        };
        write!(f, "{} {what}", self.0.address)?;
        if let (ConnectFailure::TimedOut, Some(stage)) = (self.0.failure, self.0.stage) {
            write!(f, " while {stage}")?;
        }
        if let Some(detail) = &self.0.detail {
            write!(f, ": {detail}")?;
        }
        match &self.0.sqlstate {
            Some(code) => write!(f, " (SQLSTATE {})", code.code()),
            None => Ok(()),
        }
    }
}

/// The same text as `Display`, because a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for ConnectError {}

/// The server's answer to a request for TLS does not allow the connector to go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TlsRefused(pub(crate) &'static str);
