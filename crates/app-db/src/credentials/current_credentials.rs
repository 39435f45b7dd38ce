//! What the source delivers at this moment, for programs that log in without pools.

use db_config::{Config, Endpoint};

use crate::credentials::configured::Configured;
use crate::credentials::secret::Secret;
use crate::error::Error;

/// What the source of the credentials delivers at this moment, for a program that logs in without pools.
#[derive(Debug)]
pub struct CurrentCredentials {
    /// The user whose secret it is, as the URLs name it.
    user: String,
    /// `None` where the URL has it, or only code could fetch it.
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
        // Without either URL, the first one is the one that is missing.
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

    /// The endpoint with this secret, if it is one of that user.
    #[must_use]
    pub fn applied_to(&self, endpoint: Endpoint) -> Endpoint {
        match &self.secret {
            Some(secret) if endpoint.user == self.user => secret.applied_to(&endpoint, false),
            _ => endpoint,
        }
    }
}
