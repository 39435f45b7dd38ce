//! Reads from the configuration which pools to open and where each of them connects.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use db_config::{Config, ConfigError, Endpoint, Host};
use db_pool::{Pool, PoolProfile, Via};

use crate::credentials::secret::Secret;
use crate::error::Error;
use crate::transaction::budget::RetryBudget;
use crate::transaction::retry::Retry;

/// The pools that the configuration asks for.
pub(crate) struct Plan {
    pub(crate) write: (Endpoint, PoolProfile),
    pub(crate) readers: Vec<(Endpoint, PoolProfile)>,
    pub(crate) further: BTreeMap<String, FurtherPool>,
    /// Where listeners connect: to the server itself, even if the write pool connects through a
    /// pooler.
    pub(crate) listening: Result<FurtherPool, ConfigError>,
    /// Name and size of every pool whose connections go to the primary.
    pub(crate) on_primary: Vec<(String, u32)>,
    pub(crate) retry: Retry,
}

impl Plan {
    pub(crate) fn read(config: &Config) -> Result<Self, Error> {
        for warning in config.warnings() {
            tracing::warn!(target: "app_db::start_up",
                warning,
                "the configuration is allowed and probably not meant"
            );
        }
        let endpoint_for = |profile: &PoolProfile| match profile.via {
            Via::Direct => config.direct_url().map(Endpoint::from),
            _ => config.pooled_url().map(Endpoint::from),
        };
        let write = PoolProfile::from_config(config, "write")?;
        let write = (endpoint_for(&write)?, write);
        let mut on_primary = vec![("write".to_owned(), write.1.max)];
        let retry: Retry = config.section("retry")?;
        let read = PoolProfile::from_config(config, "read")?;
        let mut readers: Vec<_> = config
            .replica_urls()
            .iter()
            .zip(1..)
            .map(|(url, nth)| {
                let mut read = read.clone();
                if nth > 1 {
                    read.name = format!("read.{nth}").into();
                }
                (Endpoint::from(url), read)
            })
            .collect();
        if readers.is_empty() && config.configures_pool("read") {
            on_primary.push(("read".to_owned(), read.max));
            readers.push((endpoint_for(&read)?, read));
        }
        let mut further = BTreeMap::new();
        for name in config.pool_names() {
            if name == "write" || name == "read" {
                continue;
            }
            let profile = PoolProfile::from_config(config, &name)?;
            let endpoint = endpoint_for(&profile)?;
            let pool = OnceLock::new();
            on_primary.push((name.clone(), profile.max));
            further.insert(
                name,
                FurtherPool {
                    endpoint: Mutex::new(endpoint),
                    profile,
                    budget: RetryBudget::new(retry.budget),
                    pool,
                },
            );
        }
        let mut beside = write.1.clone();
        (beside.name, beside.min_idle) = ("listen".into(), 0);
        let listening = config.direct_url().map(|url| FurtherPool {
            endpoint: Mutex::new(Endpoint::from(url)),
            profile: beside,
            budget: RetryBudget::new(retry.budget),
            pool: OnceLock::new(),
        });
        Ok(Self {
            write,
            readers,
            further,
            listening,
            on_primary,
            retry,
        })
    }

    /// The plan with a secret, which replaces the URL's credentials of the write pool's user.
    pub(crate) fn with_secret(mut self, secret: &Secret) -> Self {
        let replaced = Replaced {
            user: self.write.0.user.clone(),
            secret: secret.clone(),
            moved_from: None,
        };
        let opened = std::iter::once(&mut self.write).chain(&mut self.readers);
        for (endpoint, _) in opened {
            if let Some(with_secret) = replaced.by(endpoint) {
                *endpoint = with_secret;
            }
        }
        self.further
            .values()
            .chain(&self.listening)
            .for_each(|further| further.replace(&replaced));
        self
    }

    /// Where each pool connects, including pools that are opened only when the service asks for them.
    pub(crate) fn all(self) -> Vec<(Endpoint, PoolProfile)> {
        let further = self.further.values();
        let further = further.map(|pool| (pool.endpoint().clone(), pool.profile.clone()));
        std::iter::once(self.write.clone())
            .chain(self.readers.clone())
            .chain(further)
            .collect()
    }
}

/// A pool that is opened when the service first asks for it. An unused one costs nothing.
#[derive(Debug)]
pub(crate) struct FurtherPool {
    /// Where the pool connects once it is opened. A rotation changes it.
    pub(crate) endpoint: Mutex<Endpoint>,
    pub(crate) profile: PoolProfile,
    pub(crate) budget: RetryBudget,
    pub(crate) pool: OnceLock<Pool>,
}

impl FurtherPool {
    pub(crate) fn endpoint(&self) -> MutexGuard<'_, Endpoint> {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the pool log in with this secret once it is opened, if it belongs to the same user.
    pub(crate) fn replace(&self, replaced: &Replaced) {
        let mut endpoint = self.endpoint();
        if let Some(with_secret) = replaced.by(&endpoint) {
            *endpoint = with_secret;
        }
    }
}

/// A secret that has replaced the earlier one of a user.
#[derive(Clone, Debug)]
pub(crate) struct Replaced {
    pub(crate) user: String,
    pub(crate) secret: Secret,
    /// The hosts that the secret's host replaces, if it replaces any.
    pub(crate) moved_from: Option<Vec<Host>>,
}

impl Replaced {
    /// The endpoint with the secret, if the endpoint is for the secret's user.
    pub(crate) fn by(&self, endpoint: &Endpoint) -> Option<Endpoint> {
        let follows = self.moved_from.as_ref() == Some(&endpoint.hosts);
        (endpoint.user == self.user).then(|| self.secret.applied_to(endpoint, follows))
    }
}
