//! The endpoints of a configuration, each with the pools that connect to it.

use app_db::db_pool::{PoolProfile, Via};
use app_db::{Config, ConfigError, Endpoint};

/// One endpoint to look at.
pub(super) struct ConfiguredEndpoint {
    pub(super) name: String,
    pub(super) role: Role,
    /// Where its URL was read from.
    pub(super) origin: String,
    pub(super) endpoint: Endpoint,
    /// The pools of one instance of the service.
    pub(super) pools: Vec<PoolProfile>,
    /// The profile of the first pool, to connect with.
    pub(super) profile: PoolProfile,
}

/// What an endpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Pooled,
    Direct,
    Replica,
}

/// The endpoints of the configuration: the pooled one, the direct one if there is one, and the replicas.
pub(super) fn of(config: &Config) -> Result<Vec<ConfiguredEndpoint>, ConfigError> {
    let (mut pooled, mut direct) = (Vec::new(), Vec::new());
    // With a replica, `read` is the pool of the replica. Without one it may be the write pool.
    let reads_here = config.replica_urls().is_empty() && config.configures_pool("read");
    for name in config
        .pool_names()
        .iter()
        .filter(|name| reads_here || *name != "read")
    {
        let pool = PoolProfile::from_config(config, name)?;
        match pool.via {
            Via::Direct => direct.push(pool),
            _ => pooled.push(pool),
        }
    }
    let (write, read) = (
        PoolProfile::from_config(config, "write")?,
        PoolProfile::from_config(config, "read")?,
    );
    let origin = |key: &str| {
        let explained = config.explain().find(|explained| explained.key == key);
        explained.map_or_else(String::new, |explained| explained.origin.to_string())
    };
    let configured =
        |name: String, role, key: &str, endpoint, pools: Vec<PoolProfile>| ConfiguredEndpoint {
            name,
            role,
            origin: origin(key),
            endpoint,
            profile: pools.first().unwrap_or(&write).clone(),
            pools,
        };

    let mut endpoints = Vec::new();
    match config.pooled_url() {
        Ok(url) => endpoints.push(configured(
            "pooled".to_owned(),
            Role::Pooled,
            "database.url",
            url.into(),
            pooled,
        )),
        Err(error) if !pooled.is_empty() => return Err(error),
        Err(_no_pool_needs_it) => {}
    }
    match config.direct_url() {
        Ok(url) => endpoints.push(configured(
            "direct".to_owned(),
            Role::Direct,
            "database.direct_url",
            url.into(),
            direct,
        )),
        Err(error) if !direct.is_empty() => return Err(error),
        // The advice mentions it instead.
        Err(_only_migrations_need_it) => {}
    }
    for (url, nth) in config.replica_urls().iter().zip(1..) {
        let name = match nth {
            1 => "replica".to_owned(),
            nth => format!("replica.{nth}"),
        };
        let pools = vec![read.clone()];
        endpoints.push(configured(
            name,
            Role::Replica,
            "database.replica_url",
            url.into(),
            pools,
        ));
    }
    Ok(endpoints)
}
