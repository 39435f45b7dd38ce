//! Opens the pools of a plan, with credentials from their source.

use std::sync::Arc;

use db_config::{Config, Credentials};
use db_pool::plumbing::Logins;

use crate::credentials::configured::Configured;
use crate::credentials::fetch::fetch;
use crate::credentials::keyring::Keyring;
use crate::credentials::known::Known;
use crate::credentials::renewal::{Renewal, RenewalHandle};
use crate::credentials::secret::Secret;
use crate::error::Error;
use crate::migrate::{MigrateError, MigrationSource, Migrator};
use crate::open::plan::Plan;
use crate::pools::Pools;

/// What is done besides opening the pools.
pub(crate) struct Opening {
    migrator: Result<Option<Migrator>, MigrateError>,
    migrations: MigrationSource,
}

/// What a [`Database`](crate::Database) consists of.
pub(crate) struct Opened {
    pub(crate) pools: Arc<Pools>,
    pub(crate) renewal: RenewalHandle,
    /// What the schema is compared with.
    pub(crate) migrations: MigrationSource,
}

impl Opening {
    pub(crate) fn new(config: &Config) -> Self {
        // Only a caller of `schema` needs the folder, and is told there that it cannot be read.
        let directory = Migrator::configured_directory(config);
        let directory = directory.unwrap_or_else(|_| "migrations".into());
        Self {
            migrator: Migrator::on_start(config),
            migrations: MigrationSource::directory(directory),
        }
    }

    /// Migrates where that is configured, and opens the pools.
    pub(crate) async fn open(self, plan: Plan, configured: Configured) -> Result<Opened, Error> {
        if let Some(migrator) = self.migrator? {
            migrator.run().await?;
        }
        let (pools, renewal) = open(plan, configured).await?;
        Ok(Opened {
            pools,
            renewal,
            migrations: self.migrations,
        })
    }
}

/// Fetches the credentials, opens the pools, starts the renewal, and waits for the first connection.
async fn open(
    mut plan: Plan,
    configured: Configured,
) -> Result<(Arc<Pools>, RenewalHandle), Error> {
    let delivery = match &configured.source {
        Some(source) => Some(fetch(source, configured.name, configured.rules.timeout).await?),
        None => None,
    };
    let of_url = &plan.write.0;
    let follows = delivery
        .as_ref()
        .is_some_and(|delivery| delivery.secret.is_for(of_url));
    let secret = match &delivery {
        Some(delivery) => delivery.secret.clone(),
        None => {
            let password = of_url.password.clone().unwrap_or_default();
            Secret::new(Credentials::new(of_url.user.clone(), password))
        }
    };
    if let Some(delivery) = &delivery {
        if !follows {
            tracing::info!(target: "app_db::credentials",
                source = configured.name,
                host = delivery.secret.host,
                address = of_url.address(),
                "the secret names another host than the URL; the pools go by the URL"
            );
        }
        plan = plan.with_secret(&delivery.secret);
    }
    let mut known = Known::new(secret.clone(), configured.rules.attempts);
    if let Some(delivery) = &delivery {
        known.delivered(&delivery.secret, delivery.fallback.as_ref());
    }
    let keyring = Keyring::new(
        configured.name,
        configured.rules.drain,
        follows,
        known,
        delivery.is_some(),
    );
    let logins = Logins::new(configured.rules.attempts);
    let pools = Arc::new(Pools::new(plan, keyring, Arc::clone(&logins)));
    let renewal = Renewal::start(&pools, configured, logins, delivery.as_ref());
    pools.connect().await?;
    if follows && secret.host.is_some() {
        // Later it may be too late to ask: the host that is left may be down.
        let _unknown = pools.know_cluster().await;
    }
    Ok((pools, renewal))
}
