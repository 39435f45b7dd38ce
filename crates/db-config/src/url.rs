//! The two kinds of URL: one may lead through a pooler, the other leads to the server itself.

mod build;
mod defaults;
mod gathered;
mod interpret;
mod options;
mod pairs;
mod param_reader;
mod params;
mod pooler_hint;
#[cfg(test)]
mod properties;
mod scheme;
mod split;
#[cfg(test)]
mod tests;
mod treatment;

use std::fmt;

pub(crate) use self::defaults::Defaults;
pub(crate) use self::interpret::interpret;
pub(crate) use self::params::Params;
use crate::endpoint::Endpoint;
use crate::error::{ConfigError, Problem};
use crate::origin::Origin;

/// The URL of the application, which may lead through a pooler (`DATABASE_URL`).
#[derive(Clone)]
pub struct PooledUrl(Endpoint);

/// The URL of migrations and administration, which leads to the server itself
/// (`DATABASE_URL_DIRECT`).
///
/// A [`PooledUrl`] does not convert into it. Behind a transaction-mode pooler two clients can get
/// the same session lock, and one client's settings reach others.
///
/// ```compile_fail,E0277
/// let pooled = db_config::PooledUrl::parse("postgres://app@localhost/app").unwrap();
/// let direct: db_config::DirectUrl = pooled.into();
/// ```
#[derive(Clone)]
pub struct DirectUrl(Endpoint);

impl PooledUrl {
    /// Reads a `postgres://` URL; see `config/README.md` for what each parameter means.
    ///
    /// # Errors
    ///
    /// Lists everything that is wrong with the URL, without the password.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        parse(url).map(PooledUrl)
    }

    /// The parts of the URL.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0
    }

    pub(crate) fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.0
    }

    pub(crate) fn into_endpoint(self) -> Endpoint {
        self.0
    }

    pub(crate) fn new(endpoint: Endpoint) -> Self {
        PooledUrl(endpoint)
    }
}

impl DirectUrl {
    /// Reads a `postgres://` URL; see `config/README.md` for what each parameter means.
    ///
    /// # Errors
    ///
    /// Lists everything that is wrong with the URL, without the password.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        parse(url).map(DirectUrl)
    }

    /// The parts of the URL.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0
    }

    pub(crate) fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.0
    }

    pub(crate) fn into_endpoint(self) -> Endpoint {
        self.0
    }

    pub(crate) fn new(endpoint: Endpoint) -> Self {
        DirectUrl(endpoint)
    }
}

impl From<PooledUrl> for Endpoint {
    fn from(url: PooledUrl) -> Self {
        url.into_endpoint()
    }
}

impl From<&PooledUrl> for Endpoint {
    fn from(url: &PooledUrl) -> Self {
        url.endpoint().clone()
    }
}

impl From<DirectUrl> for Endpoint {
    fn from(url: DirectUrl) -> Self {
        url.into_endpoint()
    }
}

impl From<&DirectUrl> for Endpoint {
    fn from(url: &DirectUrl) -> Self {
        url.endpoint().clone()
    }
}

impl fmt::Display for PooledUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PooledUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PooledUrl({})", self.0)
    }
}

impl fmt::Display for DirectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for DirectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirectUrl({})", self.0)
    }
}

/// Reads a URL by itself. No layer fills in what it leaves out, and no file is read.
fn parse(url: &str) -> Result<Endpoint, ConfigError> {
    let origin = Origin::new("the given URL");
    let params = Params::parse("url", origin.clone(), url).map_err(ConfigError::of)?;
    if params.text("passfile").is_some() && !params.is_given("password") {
        let message = "`passfile`: only Config::load reads it; give the password itself";
        return Err(Problem::new("url", origin, message).into());
    }
    interpret(&params, &Defaults::default()).map_err(ConfigError::of)
}
