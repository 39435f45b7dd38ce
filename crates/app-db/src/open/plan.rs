//! Reads from the configuration which pools there are and where each of them connects.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use db_config::{Config, ConfigError, Credentials, Endpoint};
use db_pool::{Pool, PoolProfile, Via};

use crate::error::Error;
use crate::transaction::budget::RetryBudget;
use crate::transaction::retry::Retry;

/// The pools that the configuration asks for.
pub(crate) struct Plan {
    pub(crate) write: (Endpoint, PoolProfile),
    pub(crate) readers: Vec<(Endpoint, PoolProfile)>,
    pub(crate) further: BTreeMap<String, FurtherPool>,
    /// Where listeners connect: to the server itself, whatever the write pool goes through.
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

    /// Has the pool log in with these credentials once it is opened, if it would have done so as this user.
    pub(crate) fn rotate(&self, user: &str, credentials: &Credentials) {
        let mut endpoint = self.endpoint();
        if endpoint.user == user {
            *endpoint = endpoint.with_credentials(credentials);
        }
    }
}
