//! Rotation: replaces the credentials after a proof, without dropping work in flight.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use db_config::{Endpoint, Host};
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::backend::closing::{CLOSE_TIMEOUT, await_end};
use crate::connect::dialler::Dialled;
use crate::error::PoolError;
use crate::generation::Generation;
use crate::registry::Registry;
use crate::shared::Shared;
use crate::upkeep::drain::{self, Drain, DrainRules};

/// A rotation whose new credentials are in place; older connections may still be in use.
#[derive(Debug)]
#[must_use = "older connections may still be at work; `drained` waits for them"]
pub struct Rotation {
    generation: u64,
    older: Vec<Arc<Generation>>,
}

impl Rotation {
    /// The number of the current generation; with several pools, the highest.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many connections with older credentials are still alive.
    #[must_use]
    pub fn retiring(&self) -> u32 {
        self.older.iter().map(|generation| generation.live()).sum()
    }

    /// Resolves when the server has closed the last connection with older credentials.
    ///
    /// From then on you may lock the old user or forget the old password. The future may be awaited any number of
    /// times, and dropped at any time.
    pub async fn drained(&self) {
        for generation in &self.older {
            generation.drained().await;
        }
    }
}

/// Uses the proved logins for every new connection, and retires the older connections.
pub(crate) fn put_in_place(pools: Vec<(Arc<Shared>, Endpoint)>, rules: DrainRules) -> Rotation {
    let mut rotation = Rotation {
        generation: 0,
        older: Vec::new(),
    };
    for (shared, endpoint) in pools {
        let generations = &shared.registry.generations;
        // Certificates may have been replaced along with the password.
        shared.dialler.read_certificates(&endpoint);
        let moved = generations.current().endpoint.hosts != endpoint.hosts;
        let address = moved.then(|| endpoint.address());
        let user = endpoint.user.clone();
        let spared = drain::spare_idle(&shared, rules.spread);
        let (current, older) = generations.publish(endpoint);
        tracing::info!(target: "app_db::pool",
            pool = &*shared.registry.name,
            user,
            address,
            generation = current.number,
            "new credentials are in place"
        );
        rotation.generation = rotation.generation.max(current.number);
        let drain = Drain::new(&shared, current.number, older.clone(), spared, rules);
        rotation.older.extend(older);
        if let Some(logins) = &shared.registry.logins {
            logins.are_replaced();
        }
        shared.backoff.forget();
        shared.registry.logged_in(true);
        shared.sweep();
        shared.registry.spawn(drain.run());
        shared.wake_keeper();
        shared.registry.changes.tell();
    }
    rotation
}

/// Logs in once at each host with a new login, beside the pool.
///
/// A pool connects to any of its hosts that answers, so each host must know the credentials. A host that cannot be
/// reached proves nothing, as long as another one can be reached.
pub(crate) async fn prove(shared: &Shared, endpoint: &Endpoint) -> Result<Proof, PoolError> {
    let proof = Proof::begin(Arc::clone(&shared.registry));
    let singles = endpoint.hosts.iter().map(|host| {
        let mut single = endpoint.clone();
        single.hosts = vec![host.clone()];
        single
    });
    let logins = singles.map(|single| prove_at(shared, single));
    let outcomes = join_all(logins).await;
    let (mut proved, mut failed) = (false, None);
    for outcome in outcomes {
        match outcome {
            Ok(()) => proved = true,
            Err(PoolError::Connect { source, .. }) if source.is_unreached() => {
                failed.get_or_insert(source);
            }
            Err(error) => return Err(error),
        }
    }
    match failed {
        Some(source) if !proved => Err(PoolError::Connect {
            pool: shared.name(),
            source,
        }),
        _ => Ok(proof),
    }
}

/// Logs in at one host, with freshly read certificates; the user must be able to take on the pool's role. Waits
/// until the server has ended the session, so that the session no longer counts when a drain makes the next one.
async fn prove_at(shared: &Shared, endpoint: Endpoint) -> Result<(), PoolError> {
    if shared.registry.is_closed() {
        return Err(shared.closed());
    }
    let proof = shared.dialler.prove(&Generation::beside(endpoint)).await;
    let Dialled { conn, link, .. } = proof.map_err(|source| PoolError::Connect {
        pool: shared.name(),
        source,
    })?;
    drop(conn);
    let _in_time = timeout(CLOSE_TIMEOUT, await_end(link.hand_back)).await;
    Ok(())
}

/// Makes one connection that no pool counts.
pub(crate) async fn log_in_beside(
    shared: &Shared,
    endpoint: Endpoint,
) -> Result<Dialled, PoolError> {
    if shared.registry.is_closed() {
        return Err(shared.closed());
    }
    let dialled = shared.dialler.dial(&Generation::beside(endpoint)).await;
    dialled.map_err(|source| PoolError::Connect {
        pool: shared.name(),
        source,
    })
}

/// The identifier of the cluster behind an endpoint, which its standbys share.
///
/// Costs a login and one round trip.
pub(crate) async fn cluster_at(shared: &Shared, endpoint: Endpoint) -> Result<String, PoolError> {
    let generation = Generation::beside(endpoint);
    let identifier = shared.dialler.cluster(&generation).await;
    identifier.map_err(|source| PoolError::Connect {
        pool: shared.name(),
        source,
    })
}

/// The endpoint at another host, if it has a single TCP host.
pub(crate) fn moved(endpoint: &Endpoint, name: &str, port: u16) -> Endpoint {
    let mut endpoint = endpoint.clone();
    if let [Host::Tcp { .. }] = endpoint.hosts.as_slice() {
        endpoint.hosts = vec![Host::Tcp {
            name: name.to_owned(),
            addr: None,
            port,
        }];
    }
    endpoint
}

/// The proof that a new login works for one pool.
#[must_use = "callers of the pool may be refused by the old credentials once it is dropped"]
pub struct Proof(Arc<Registry>);

impl Proof {
    fn begin(registry: Arc<Registry>) -> Self {
        registry.proving.fetch_add(1, Ordering::AcqRel);
        Self(registry)
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        self.0.proving.fetch_sub(1, Ordering::AcqRel);
        self.0.changes.tell();
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Proof").field(&self.0.name).finish()
    }
}
