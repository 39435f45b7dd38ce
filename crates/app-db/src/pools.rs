//! The pools of one database: opened together, rotated together, closed together.

use db_pool::plumbing;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use db_config::{Credentials, Endpoint};
use db_pool::plumbing::{DrainRules, Logins, Proof};
use db_pool::{Closed, Pool, PoolError, PoolProfile, Rotation};

use crate::credentials::keyring::Keyring;
use crate::credentials::known::Rank;
use crate::credentials::secret::Secret;
use crate::error::Error;
use crate::open::limits;
use crate::open::plan::{FurtherPool, Plan, Replaced};
use crate::open::start_up::{log_profile, warm_up};
use crate::snapshot::{RetryCount, Snapshot};
use crate::transaction::budget::RetryBudget;
use crate::transaction::retry::Retry;

/// The write pool, the read pools and the further pools, with the retry budgets that their transactions
/// share.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(crate) write: Pool,
    /// One pool for each replica. Without a replica: the pool `[database.pools.read]`, if that is
    /// configured.
    pub(crate) readers: Vec<Pool>,
    /// Counts the reads, which take the read pools in turn.
    turn: AtomicUsize,
    further: BTreeMap<String, FurtherPool>,
    pub(crate) retry: Retry,
    /// The transactions of the write pool pay their retries from this budget; the reads of all replicas
    /// share the next one.
    pub(crate) write_budget: RetryBudget,
    read_budget: RetryBudget,
    on_primary: Vec<(String, u32)>,
    /// The secrets of the write pool's user.
    pub(crate) keyring: Keyring,
    /// The logins of all pools that had the write pool's user when they were opened.
    logins: Arc<Logins>,
    /// What tells the cluster of the write pool from others, once somebody had to know.
    cluster: OnceLock<String>,
    /// Orders rotations, the opening of further pools, and closing.
    order: Mutex<()>,
    /// Lets one rotation run at a time.
    rotating: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

impl Pools {
    /// Makes the pools, none of which has a connection yet.
    pub(crate) fn new(plan: Plan, keyring: Keyring, logins: Arc<Logins>) -> Self {
        let user = plan.write.0.user.clone();
        let open = |endpoint, profile| open(&endpoint, profile, &user, &logins);
        let write = open(plan.write.0.clone(), plan.write.1);
        let readers = plan.readers.into_iter();
        let readers = readers.map(|(endpoint, profile)| open(endpoint, profile));
        Self {
            readers: readers.collect(),
            write,
            turn: AtomicUsize::new(0),
            further: plan.further,
            retry: plan.retry,
            write_budget: RetryBudget::new(plan.retry.budget),
            read_budget: RetryBudget::new(plan.retry.budget),
            on_primary: plan.on_primary,
            keyring,
            logins,
            cluster: OnceLock::new(),
            order: Mutex::default(),
            rotating: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Waits for the first connection of the write pool, then for the connections that the pools keep ready.
    pub(crate) async fn connect(&self) -> Result<(), Error> {
        let began = Instant::now();
        plumbing::first_connection(&self.write, Location::caller()).await?;
        log_profile(&self.write);
        limits::warn_of_oversize(&self.write, self.on_primary.iter().cloned());
        self.readers.iter().for_each(log_profile);
        let left = START_UP.saturating_sub(began.elapsed());
        warm_up(&self.write, &self.readers, left).await;
        Ok(())
    }

    /// The pool for the next read, and the budget from which its transactions pay their retries.
    pub(crate) fn reader(&self) -> (&Pool, &RetryBudget) {
        match self.readers.len() {
            0 => (&self.write, &self.write_budget),
            count => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                (&self.readers[turn % count], &self.read_budget)
            }
        }
    }

    /// A further pool by its name, and the retry budget of its transactions. The first call opens the
    /// pool.
    pub(crate) fn further(&self, name: &str) -> Option<(&Pool, &RetryBudget)> {
        let further = self.further.get(name)?;
        Some((self.open_further(further), &further.budget))
    }

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

    /// Replaces the secret of the write pool's user, and its host where that belongs to the secret.
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

    /// Logs in with what is in place, beside the write pool.
    pub(crate) async fn prove_current(&self) -> Result<(), PoolError> {
        let present = plumbing::endpoint(&self.write);
        plumbing::prove(&self.write, &present).await.map(drop)
    }

    /// Remembers which cluster the write pool is connected to, for the case that a secret leads elsewhere.
    pub(crate) async fn know_cluster(&self) -> Result<&str, PoolError> {
        if let Some(known) = self.cluster.get() {
            return Ok(known);
        }
        let present = plumbing::endpoint(&self.write);
        let found = plumbing::cluster_at(&self.write, present).await?;
        Ok(self.cluster.get_or_init(|| found))
    }

    /// Reads the certificates anew for the connections to come.
    pub(crate) fn read_certificates(&self) {
        self.open_pools()
            .iter()
            .for_each(plumbing::read_certificates);
    }

    /// What was in place works after all.
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

    /// Proves a secret for every pool that it is for, and puts it in place in all of them or in none.
    async fn replace(&self, with: Replaced, drain: DrainRules) -> Result<Rotation, PoolError> {
        let pools = self.of_user(&with.user);
        let after = |pool: &Pool| with.by(&plumbing::endpoint(pool));
        let proofs = pools
            .iter()
            .filter_map(|pool| Some((pool, after(pool)?)))
            .map(async |(pool, endpoint)| plumbing::prove(pool, &endpoint).await);
        let proofs = futures_util::future::join_all(proofs).await;
        let _proofs = proved(proofs)?;
        // A further pool that opens after this finds the new credentials. One that opened while they were
        // proved is among the open pools now.
        let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let concerned = self.of_user(&with.user).into_iter();
        let concerned = concerned.filter_map(|pool| {
            let endpoint = after(&pool)?;
            Some((pool, endpoint))
        });
        let concerned = concerned.collect();
        for further in self.further.values() {
            further.replace(&with);
        }
        Ok(plumbing::put_in_place(concerned, drain))
    }

    /// Closes every pool. A further pool that opens later is closed at once.
    pub(crate) async fn close(&self, grace: Duration) -> Closed {
        let pools = {
            // A further pool that opens after this closes itself.
            let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            self.closed.store(true, Ordering::Release);
            self.open_pools()
        };
        let closing = pools.iter().map(|pool| pool.close(grace));
        futures_util::future::join_all(closing)
            .await
            .into_iter()
            .sum()
    }

    /// Whether a pool logs in as this user, or a further pool would do so once it opens.
    fn is_used(&self, user: &str) -> bool {
        let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unopened = self
            .further
            .values()
            .filter(|further| further.pool.get().is_none());
        self.open_pools().iter().any(|pool| pool.user() == user)
            || unopened.any(|further| further.endpoint().user == user)
    }

    pub(crate) fn beside_write(&self) -> impl Iterator<Item = &Pool> {
        let further = self
            .further
            .values()
            .filter_map(|further| further.pool.get());
        self.readers.iter().chain(further)
    }

    pub(crate) fn open_pools(&self) -> Vec<Pool> {
        std::iter::once(&self.write)
            .chain(self.beside_write())
            .cloned()
            .collect()
    }

    /// All pools that are open and not closed, at one instant.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let pools = self.open_pools();
        let mut pools: Vec<_> = pools.iter().map(Pool::snapshot).collect();
        pools.retain(|pool| !pool.is_closed);
        let further = self
            .further
            .iter()
            .filter(|(_, further)| further.pool.get().is_some())
            .map(|(name, further)| (name.as_str(), &further.budget));
        let budgets = [("write", &self.write_budget), ("read", &self.read_budget)];
        let retries = budgets
            .into_iter()
            .chain(further)
            .flat_map(|(pool, budget)| RetryCount::of(pool, budget.retries()))
            .collect();
        Snapshot { pools, retries }
    }

    fn of_user(&self, user: &str) -> Vec<Pool> {
        let mut pools = self.open_pools();
        pools.retain(|pool| pool.user() == user);
        pools
    }

    fn open_further<'f>(&self, further: &'f FurtherPool) -> &'f Pool {
        further.pool.get_or_init(|| {
            let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            let endpoint = further.endpoint().clone();
            let profile = further.profile.clone();
            let pool = open(&endpoint, profile, &self.write.user(), &self.logins);
            log_profile(&pool);
            if self.closed.load(Ordering::Acquire) {
                plumbing::begin_close(&pool);
            }
            pool
        })
    }
}

/// The proofs, if there is one and no server refuses. A replica that is down says nothing of the credentials.
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

/// A pool that shares the logins of the main user, if it is one of that user's.
fn open(endpoint: &Endpoint, profile: PoolProfile, user: &str, logins: &Arc<Logins>) -> Pool {
    match endpoint.user == user {
        true => plumbing::connect_with(endpoint, profile, Arc::clone(logins)),
        false => Pool::connect_lazy(endpoint.clone(), profile),
    }
}

/// How long opening the pools may take.
const START_UP: Duration = Duration::from_secs(5);
