//! The current credentials, for programs that log in without pools.

use db_config::{Config, Endpoint};

use crate::credentials::configured::Configured;
use crate::credentials::secret::Secret;
use crate::error::Error;

/// The credentials that the source delivers now, for a program that logs in without pools.
#[derive(Debug)]
pub struct CurrentCredentials {
    /// The user whose secret this is, as the URLs name it.
    user: String,
    /// `None` if the URL has the secret, or if only a source of the service could fetch it.
    secret: Option<Secret>,
}

impl CurrentCredentials {
    /// Asks the source once.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], and [`Error::Credentials`] if the source delivers nothing.
    ///
    /// Dropping the future gives up the fetch. Call it inside a tokio runtime.
    pub async fn fetch(config: &Config) -> Result<Self, Error> {
        // If neither URL is configured, the error names the first.
        let endpoint = match (config.pooled_url(), config.direct_url()) {
            (Ok(pooled), _) => Endpoint::from(pooled),
            (Err(_missing), Ok(direct)) => Endpoint::from(direct),
            (Err(missing), Err(_)) => return Err(missing.into()),
        };
        let delivery = Configured::read(config, &endpoint.user)?.fetch().await?;
        Ok(Self {
            user: endpoint.user,
            secret: delivery.map(|delivery| delivery.secret),
        })
    }

    /// The endpoint with this secret, if the endpoint is for the secret's user.
    #[must_use]
    pub fn applied_to(&self, endpoint: Endpoint) -> Endpoint {
        match &self.secret {
            Some(secret) if endpoint.user == self.user => secret.applied_to(&endpoint, false),
            _ => endpoint,
        }
    }
}
