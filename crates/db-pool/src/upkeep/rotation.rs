//! Rotation: new credentials, proved first, without dropping work in flight.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use db_config::{Credentials, Endpoint};

use crate::connect::dialler::Dialled;
use crate::error::PoolError;
use crate::generation::Generation;
use crate::registry::Registry;
use crate::shared::Shared;

/// A rotation whose new credentials are in place; older connections may still be at work.
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
    /// From then on the old user may be locked, or the old password forgotten. It may be awaited any
    /// number of times, and dropped at will.
    pub async fn drained(&self) {
        for generation in &self.older {
            generation.drained().await;
        }
    }
}

/// Uses the proved credentials for every new connection, and retires the older connections.
pub(crate) fn put_in_place(pools: &[Arc<Shared>], credentials: &Credentials) -> Rotation {
    let mut rotation = Rotation {
        generation: 0,
        older: Vec::new(),
    };
    for shared in pools {
        let generations = &shared.registry.generations;
        let endpoint = generations.current().endpoint.with_credentials(credentials);
        let (current, older) = generations.publish(endpoint);
        tracing::info!(target: "app_db::pool",
            pool = &*shared.registry.name,
            user = credentials.user(),
            generation = current.number,
            "new credentials are in place"
        );
        rotation.generation = rotation.generation.max(current.number);
        rotation.older.extend(older);
        shared.backoff.forget();
        shared.sweep();
        shared.wake_keeper();
        shared.registry.changes.tell();
    }
    rotation
}

/// Logs in once with the new credentials, beside the pool.
pub(crate) async fn prove(shared: &Shared, credentials: &Credentials) -> Result<Proof, PoolError> {
    let registry = &shared.registry;
    let proof = Proof::begin(Arc::clone(registry));
    let endpoint = registry
        .generations
        .current()
        .endpoint
        .with_credentials(credentials);
    let _proven = log_in_beside(shared, endpoint).await?;
    Ok(proof)
}

/// Makes one connection that no pool counts.
pub(crate) async fn log_in_beside(
    shared: &Shared,
    endpoint: Endpoint,
) -> Result<Dialled, PoolError> {
    if shared.registry.is_closed() {
        return Err(shared.closed());
    }
    match shared.dialler.dial(&Generation::beside(endpoint)).await {
        Ok(dialled) => Ok(dialled),
        Err(source) => Err(PoolError::Connect {
            pool: shared.name(),
            source,
        }),
    }
}

/// The proof that new credentials work for one pool.
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
