//! Opens the pools of a plan, with credentials from their source.

use std::sync::Arc;

use db_config::{Config, Credentials};
use db_pool::plumbing::Logins;

use crate::credentials::configured::Configured;
use crate::credentials::fetch::Delivery;
use crate::credentials::keyring::Keyring;
use crate::credentials::known::Known;
use crate::credentials::renewal::Renewal;
use crate::credentials::renewal_handle::RenewalHandle;
use crate::credentials::secret::Secret;
use crate::error::Error;
use crate::migrate::{MigrateError, MigrationSource, Migrator};
use crate::open::plan::Plan;
use crate::pools::Pools;

/// The options for opening the pools.
pub(crate) struct Opening {
    migrator: Result<Option<Migrator>, MigrateError>,
    migrations: MigrationSource,
}

/// The parts of a [`Database`](crate::Database).
pub(crate) struct Opened {
    pub(crate) pools: Arc<Pools>,
    pub(crate) renewal: RenewalHandle,
    /// The migrations to compare the schema with.
    pub(crate) migrations: MigrationSource,
}

impl Opening {
    pub(crate) fn new(config: &Config) -> Self {
        // Only a caller of `schema` needs the folder, so only `schema` reports an unreadable folder.
        let directory = Migrator::configured_directory(config);
        let directory = directory.unwrap_or_else(|_| "migrations".into());
        Self {
            migrator: Migrator::on_start(config),
            migrations: MigrationSource::directory(directory),
        }
    }

    /// Migrates if the configuration says so, and opens the pools.
    pub(crate) async fn open(self, plan: Plan, configured: Configured) -> Result<Opened, Error> {
        if let Some(migrator) = self.migrator? {
            migrator.sourced_as(&configured).run().await?;
        }
        let delivery = configured.fetch().await?;
        let (pools, renewal) = begin(plan, configured, delivery.as_ref());
        pools.connect().await?;
        if pools.keyring.follows() && delivery.is_some_and(|first| first.secret.host.is_some()) {
            // Later it may be too late to ask, because the old host may be down.
            let _unknown = pools.know_cluster().await;
        }
        Ok(Opened {
            pools,
            renewal,
            migrations: self.migrations,
        })
    }

    /// Opens the pools without a server, and without a wait for the source of the credentials. Migrates
    /// nothing.
    pub(crate) fn open_lazy(self, plan: Plan, configured: Configured) -> Opened {
        let (pools, renewal) = begin(plan, configured, None);
        pools.log_profiles();
        Opened {
            pools,
            renewal,
            migrations: self.migrations,
        }
    }
}

/// Creates the pools and starts the renewal, with the source's credentials or the URL's.
fn begin(
    mut plan: Plan,
    configured: Configured,
    delivery: Option<&Delivery>,
) -> (Arc<Pools>, RenewalHandle) {
    let of_url = plan.write.0.clone();
    let password = of_url.password.clone().unwrap_or_default();
    let mut secret = Secret::new(Credentials::new(of_url.user.clone(), password));
    if let Some(delivery) = delivery {
        secret = delivery.secret.clone();
        plan = plan.with_secret(&secret);
    }
    let attempts = configured.rules.attempts;
    let known = Known::new(secret, attempts);
    let keyring = Keyring::new(configured.name, configured.rules.drain, known);
    if let Some(delivery) = delivery {
        keyring.delivered(delivery, &of_url);
    }
    let logins = Logins::new(attempts);
    let pools = Arc::new(Pools::new(plan, keyring, Arc::clone(&logins)));
    let renewal = Renewal::start(&pools, configured, logins, delivery);
    (pools, renewal)
}
