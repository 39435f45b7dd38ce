//! Checks the credentials and changes nothing.

use std::time::Duration;

use db_config::Config;
use db_pool::plumbing;
use db_pool::{Pool, PoolError};

use crate::credentials::configured::Configured;
use crate::credentials::secret::Secret;
use crate::error::Error;
use crate::open::plan::Plan;

/// What the source of the credentials delivers, and whether the servers accept it.
#[derive(Debug)]
#[non_exhaustive]
pub struct CredentialCheck {
    /// The configured value of `credentials.source`.
    pub source: &'static str,
    /// The user that the source names.
    pub user: String,
    /// How long the secret is valid, if it expires.
    pub expires_in: Option<Duration>,
    /// Whether the server ends the sessions when the secret expires.
    pub is_lease: bool,
    /// The host that the secret names, if it names one.
    pub host: Option<String>,
    /// One login for each pool and each secret.
    pub logins: Vec<CheckedLogin>,
}

/// One login of a [`CredentialCheck`].
#[derive(Debug)]
#[non_exhaustive]
pub struct CheckedLogin {
    /// The pool.
    pub pool: String,
    /// Where it connects.
    pub address: String,
    /// The user of this login.
    pub user: String,
    /// Whether this login used the fallback secret, which is tried when the server refuses the first.
    pub is_fallback: bool,
    /// Why the login failed.
    pub error: Option<PoolError>,
}

impl CredentialCheck {
    /// Fetches the credentials, logs in with them once for each pool, and closes the connections.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], and [`Error::Credentials`] if the source delivers nothing. A refused login is no error: it is
    /// in [`CredentialCheck::logins`].
    ///
    /// Dropping the future closes the connections that it opened. Call it inside a tokio runtime.
    pub async fn run(config: &Config) -> Result<Self, Error> {
        let plan = Plan::read(config)?;
        let user = plan.write.0.user.clone();
        let configured = Configured::read(config, &user)?.check()?;
        let delivery = configured.fetch().await?;
        let mut check = Self {
            source: configured.name,
            user,
            expires_in: None,
            is_lease: false,
            host: None,
            logins: Vec::new(),
        };
        let secrets: Vec<(Option<Secret>, bool)> = match delivery {
            Some(delivery) => {
                let secret = delivery.secret;
                secret.credentials.user().clone_into(&mut check.user);
                (check.expires_in, check.is_lease) = (delivery.life, secret.is_lease);
                check.host.clone_from(&secret.host);
                let fallback = delivery.fallback.map(|fallback| (Some(fallback), true));
                std::iter::once((Some(secret), false))
                    .chain(fallback)
                    .collect()
            }
            None => vec![(None, false)],
        };
        for (secret, is_fallback) in secrets {
            let plan = Plan::read(config)?;
            let plan = match &secret {
                Some(secret) => plan.with_secret(secret),
                None => plan,
            };
            for (endpoint, mut profile) in plan.all() {
                profile.min_idle = 0;
                let pool = Pool::connect_lazy(endpoint.clone(), profile);
                let error = plumbing::prove(&pool, &endpoint).await.err();
                pool.close(Duration::ZERO).await;
                check.logins.push(CheckedLogin {
                    pool: pool.name().to_owned(),
                    address: endpoint.address(),
                    user: endpoint.user,
                    is_fallback,
                    error,
                });
            }
        }
        Ok(check)
    }

    /// Whether every pool can log in with the first secret of the source; logins with the fallback do not count.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        let mut firsts = self.logins.iter().filter(|login| !login.is_fallback);
        firsts.all(|login| login.error.is_none())
    }
}
