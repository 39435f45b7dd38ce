//! Replaces the credentials of the pools: in all pools of a user, or in none.

use std::sync::PoisonError;

use db_config::Credentials;
use db_pool::plumbing::{self, DrainRules, Proof};
use db_pool::{Pool, PoolError, Rotation};

use crate::credentials::known::Rank;
use crate::credentials::secret::Secret;
use crate::error::Error;
use crate::open::plan::Replaced;
use crate::pools::Pools;

impl Pools {
    /// Replaces the credentials of every pool that logs in as the rotated user; see
    /// [`Database::rotate`](crate::Database::rotate).
    pub(crate) async fn rotate(&self, credentials: Credentials) -> Result<Rotation, Error> {
        let _alone = self.rotating.lock().await;
        let main = self.write.user();
        let user = match self.is_used(credentials.user()) {
            true => credentials.user().to_owned(),
            false => main.clone(),
        };
        let secret = Secret::new(credentials);
        let is_main = user == main;
        let drain = self.keyring.drain();
        let replaced = Replaced {
            user,
            secret: secret.clone(),
            moved_from: None,
        };
        let rotation = self.replace(replaced, drain).await?;
        if is_main {
            self.keyring.published(secret, Rank::Latest);
        }
        Ok(rotation)
    }

    /// Puts the source's first secret in place, without a proof.
    pub(crate) async fn begin_with(&self, secret: &Secret) {
        let _alone = self.rotating.lock().await;
        let with = Replaced {
            user: self.write.user(),
            secret: secret.clone(),
            moved_from: None,
        };
        let _rotation = self.put_in_place(&with, self.keyring.drain());
        self.keyring.begin_with(secret.clone());
    }

    /// Replaces the secret of the write pool's user, and also the host if the pools take it from the
    /// secret.
    pub(crate) async fn renew(
        &self,
        secret: &Secret,
        drain: DrainRules,
    ) -> Result<Rotation, PoolError> {
        let _alone = self.rotating.lock().await;
        let present = plumbing::endpoint(&self.write);
        let moves = self.keyring.follows() && !secret.is_for(&present);
        if moves {
            self.stay_in_the_cluster(secret).await?;
        }
        let replaced = Replaced {
            user: present.user,
            secret: secret.clone(),
            moved_from: moves.then_some(present.hosts),
        };
        self.replace(replaced, drain).await
    }

    /// Logs in with the present credentials, beside the write pool.
    pub(crate) async fn prove_current(&self) -> Result<(), PoolError> {
        let present = plumbing::endpoint(&self.write);
        plumbing::prove(&self.write, &present).await.map(drop)
    }

    /// Remembers which cluster the write pool is connected to, as a later secret may lead to another one.
    pub(crate) async fn know_cluster(&self) -> Result<&str, PoolError> {
        if let Some(known) = self.cluster.get() {
            return Ok(known);
        }
        let present = plumbing::endpoint(&self.write);
        let found = plumbing::cluster_at(&self.write, present).await?;
        Ok(self.cluster.get_or_init(|| found))
    }

    /// Reads the certificates again, for new connections.
    pub(crate) fn read_certificates(&self) {
        self.with_listening()
            .iter()
            .for_each(plumbing::read_certificates);
    }

    /// Notes that the present credentials work after all.
    pub(crate) fn logins_work(&self) {
        plumbing::logins_work(&self.of_user(&self.write.user()));
    }

    async fn stay_in_the_cluster(&self, secret: &Secret) -> Result<(), PoolError> {
        let known = self.know_cluster().await?;
        let there = secret.applied_to(&plumbing::endpoint(&self.write), true);
        let address = there.address();
        match plumbing::cluster_at(&self.write, there).await? {
            found if found == known => Ok(()),
            _ => Err(PoolError::OtherCluster {
                pool: self.write.name().into(),
                address,
            }),
        }
    }

    /// Proves a secret for every pool of its user, and puts it in place in all of these pools or in none.
    async fn replace(&self, with: Replaced, drain: DrainRules) -> Result<Rotation, PoolError> {
        let pools = self.of_user(&with.user);
        let after = |pool: &Pool| with.by(&plumbing::endpoint(pool));
        let proofs = pools
            .iter()
            .filter_map(|pool| Some((pool, after(pool)?)))
            .map(async |(pool, endpoint)| plumbing::prove(pool, &endpoint).await);
        let proofs = futures_util::future::join_all(proofs).await;
        let _proofs = proved(proofs)?;
        Ok(self.put_in_place(&with, drain))
    }

    fn put_in_place(&self, with: &Replaced, drain: DrainRules) -> Rotation {
        // A further pool that opens after this finds the new credentials. A pool that opened during the
        // proofs is among the open pools now.
        let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let concerned = self.of_user(&with.user).into_iter();
        let concerned = concerned.filter_map(|pool| {
            let endpoint = with.by(&plumbing::endpoint(&pool))?;
            Some((pool, endpoint))
        });
        let concerned = concerned.collect();
        for further in self.further.values().chain(&self.listening) {
            further.replace(with);
        }
        plumbing::put_in_place(concerned, drain)
    }

    /// Whether a pool logs in as this user, or a further pool would do so once it opens.
    fn is_used(&self, user: &str) -> bool {
        let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unopened = self
            .further
            .values()
            .filter(|further| further.pool.get().is_none());
        self.with_listening().iter().any(|pool| pool.user() == user)
            || unopened.any(|further| further.endpoint().user == user)
    }

    fn of_user(&self, user: &str) -> Vec<Pool> {
        let mut pools = self.with_listening();
        pools.retain(|pool| pool.user() == user);
        pools
    }
}

/// The proofs, if there is at least one and no server refuses. A replica that is down proves nothing about
/// the credentials.
fn proved(outcomes: Vec<Result<Proof, PoolError>>) -> Result<Vec<Proof>, PoolError> {
    let mut proofs = Vec::new();
    let mut unreached = None;
    for outcome in outcomes {
        match outcome {
            Ok(proof) => proofs.push(proof),
            Err(PoolError::Connect { pool, source }) if source.is_unreached() => {
                unreached.get_or_insert(PoolError::Connect { pool, source });
            }
            Err(error) => return Err(error),
        }
    }
    match unreached {
        Some(error) if proofs.is_empty() => Err(error),
        _ => Ok(proofs),
    }
}
