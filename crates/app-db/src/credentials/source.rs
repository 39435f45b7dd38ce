//! A source of credentials, and what it delivers.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use db_config::Credentials;
use db_pool::Kind;
use futures_util::future::BoxFuture;

/// Where user and password come from.
///
/// `[database.credentials]` configures files, directories and commands. This trait is for everything else: pass a value
/// to [`Database::connect_with_credentials`](crate::Database::connect_with_credentials).
///
/// ```
/// use app_db::{CredentialSource, Credentials, CredentialsError, Fetched};
///
/// struct Tokens;
///
/// impl CredentialSource for Tokens {
///     async fn fetch(&self) -> Result<Fetched, CredentialsError> {
///         let token = sign().await.map_err(CredentialsError::new)?;
///         let fetched = Fetched::new(Credentials::new("app", token));
///         Ok(fetched.expires_in(std::time::Duration::from_secs(900)))
///     }
/// }
/// # async fn sign() -> Result<String, std::io::Error> { Ok("token".to_owned()) }
/// ```
pub trait CredentialSource: Send + Sync + 'static {
    /// Fetches the credentials that are valid now.
    ///
    /// One call runs at a time, whatever the number of pools. A call that takes longer than `credentials.timeout` is
    /// dropped. A dropped call, an error and a panic leave the credentials as they are, and the next call comes later
    /// each time.
    fn fetch(&self) -> impl Future<Output = Result<Fetched, CredentialsError>> + Send;

    /// Resolves when the next call of [`fetch`](Self::fetch) may deliver something new; never by default.
    ///
    /// The renewal drops the future and calls this again at any time, so it has to compare with what the last `fetch`
    /// saw. The renewal does not call it if `credentials.refresh` is `lazy`.
    fn changed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// What a source delivers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// User and password.
    pub credentials: Credentials,
    /// When the server stops accepting them for new logins.
    pub expires_at: Option<SystemTime>,
    /// Others that may be valid instead: the previous or the next ones.
    pub fallback: Option<Credentials>,
    /// Whether the server ends the sessions when they expire, as with a role that is dropped at the end of its lease.
    pub is_lease: bool,
    /// The host that the source names, if it names one.
    pub host: Option<String>,
    /// The port that the source names, if it names one.
    pub port: Option<u16>,
}

impl Fetched {
    /// Credentials that do not expire.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            expires_at: None,
            fallback: None,
            is_lease: false,
            host: None,
            port: None,
        }
    }

    /// Sets when the server stops accepting them for new logins; open sessions live on.
    #[must_use]
    pub fn expires_at(mut self, at: SystemTime) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Like [`expires_at`](method@Self::expires_at), counted from now.
    #[must_use]
    pub fn expires_in(self, left: Duration) -> Self {
        match SystemTime::now().checked_add(left) {
            Some(at) => self.expires_at(at),
            None => self,
        }
    }

    /// Sets after how long the server stops accepting them and ends their sessions.
    #[must_use]
    pub fn leased_for(self, left: Duration) -> Self {
        let mut leased = self.expires_in(left);
        leased.is_lease = true;
        leased
    }

    /// Sets others, which are tried when the server refuses these.
    #[must_use]
    pub fn or(mut self, fallback: Credentials) -> Self {
        self.fallback = Some(fallback);
        self
    }
}

/// Why a source delivered nothing. The text has no secret, unless the source puts one in.
#[derive(Clone, Debug)]
pub struct CredentialsError {
    /// The source as error texts name it: ``the file `/run/secrets/db` ``.
    origin: Arc<str>,
    problem: CredentialsProblem,
    detail: Option<Arc<str>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What is wrong with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialsProblem {
    /// The service has brought no source.
    Missing,
    /// It cannot be read.
    Unreadable,
    /// It is empty.
    Empty,
    /// It lacks the password or another part.
    Incomplete,
    /// It has an unknown format.
    Malformed,
    /// It is longer than any secret.
    TooLong,
    /// It delivers credentials that have expired.
    Expired,
    /// It took too long.
    TimedOut,
    /// It returned an error.
    Failed,
    /// It panicked.
    Panicked,
}

impl CredentialsError {
    /// The error of a source of the service's own.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let error: Box<dyn StdError + Send + Sync> = error.into();
        Self {
            origin: ORIGIN.into(),
            problem: CredentialsProblem::Failed,
            detail: None,
            source: Some(error.into()),
        }
    }

    pub(crate) fn of(origin: &str, problem: CredentialsProblem) -> Self {
        Self {
            origin: origin.into(),
            problem,
            detail: None,
            source: None,
        }
    }

    /// The error for a source that is missing.
    pub(crate) fn missing(why: &'static str) -> Self {
        Self::of(ORIGIN, CredentialsProblem::Missing).explained(why)
    }

    pub(crate) fn explained(mut self, detail: impl Into<Arc<str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> CredentialsProblem {
        self.problem
    }

    /// Whether the configuration is wrong or a store is down.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.problem {
            CredentialsProblem::TimedOut
            | CredentialsProblem::Failed
            | CredentialsProblem::Panicked => Kind::Down,
            _ => Kind::Configuration,
        }
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.problem {
            CredentialsProblem::Missing => "is missing",
            CredentialsProblem::Unreadable => "cannot be read",
            CredentialsProblem::Empty => "is empty",
            CredentialsProblem::Incomplete => "is not complete",
            CredentialsProblem::Malformed => "is not in a format that is understood",
            CredentialsProblem::TooLong => "is longer than 64 kB",
            CredentialsProblem::Expired => "delivers credentials that have expired already",
            CredentialsProblem::TimedOut => "took too long",
            CredentialsProblem::Failed => "failed",
            CredentialsProblem::Panicked => "panicked",
        };
        write!(f, "{} {what}", self.origin)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl StdError for CredentialsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

/// A source of any type.
pub(crate) trait AnySource: Send + Sync {
    fn fetch_any(&self) -> BoxFuture<'_, Result<Fetched, CredentialsError>>;
    fn changed_any(&self) -> BoxFuture<'_, ()>;
}

impl<S: CredentialSource> AnySource for S {
    fn fetch_any(&self) -> BoxFuture<'_, Result<Fetched, CredentialsError>> {
        Box::pin(self.fetch())
    }

    fn changed_any(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.changed())
    }
}

/// The name of a source without a better one.
pub(crate) const ORIGIN: &str = "the source of the credentials";

/// The largest secret, in bytes.
pub(crate) const MOST: usize = 64 * 1024;
