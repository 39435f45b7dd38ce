//! The pools of one database: opened together, rotated together, closed together.

mod rotation;

use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use db_config::{ConfigError, Endpoint};
use db_pool::plumbing::{self, Logins};
use db_pool::{Closed, Pool, PoolProfile};

use crate::credentials::keyring::Keyring;
use crate::error::Error;
use crate::open::limits;
use crate::open::plan::{FurtherPool, Plan};
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
    /// This pool hands out no connection: listeners connect beside it, with its endpoint and its
    /// credentials.
    listening: Result<FurtherPool, ConfigError>,
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
    /// Identifies the cluster of the write pool. Set when it is first needed.
    cluster: OnceLock<String>,
    /// Orders rotations, the opening of further pools, and closing.
    order: Mutex<()>,
    /// Lets one rotation run at a time.
    rotating: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

impl Pools {
    /// Creates the pools without a connection. This needs no server.
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
            listening: plan.listening,
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
        self.log_profiles();
        limits::warn_of_oversize(&self.write, self.on_primary.iter().cloned());
        let left = START_UP.saturating_sub(began.elapsed());
        warm_up(&self.write, &self.readers, left).await;
        Ok(())
    }

    /// Logs the settings with which the pools start.
    pub(crate) fn log_profiles(&self) {
        log_profile(&self.write);
        self.readers.iter().for_each(log_profile);
    }

    /// The pool for the next read, and the retry budget of its transactions.
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

    /// The pool beside which listeners connect.
    pub(crate) fn listening(&self) -> Result<&Pool, ConfigError> {
        let listening = self.listening.as_ref().map_err(Clone::clone)?;
        Ok(self.open_further(listening))
    }

    /// The error for a name that no pool has.
    pub(crate) fn unknown(&self, asked: &str) -> Error {
        let known = ["write", "read"].into_iter().map(str::to_owned);
        Error::UnknownPool {
            asked: asked.to_owned(),
            known: known.chain(self.further.keys().cloned()).collect(),
        }
    }

    /// Closes every pool. A further pool that opens later is closed at once.
    pub(crate) async fn close(&self, grace: Duration) -> Closed {
        let pools = {
            // A further pool that opens after this closes itself.
            let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            self.closed.store(true, Ordering::Release);
            self.with_listening()
        };
        let closing = pools.iter().map(|pool| pool.close(grace));
        futures_util::future::join_all(closing)
            .await
            .into_iter()
            .sum()
    }

    pub(crate) fn open_further_pools(&self) -> impl Iterator<Item = &Pool> {
        let further = self.further.values();
        further.filter_map(|further| further.pool.get())
    }

    pub(crate) fn open_pools(&self) -> Vec<Pool> {
        std::iter::once(&self.write)
            .chain(&self.readers)
            .chain(self.open_further_pools())
            .cloned()
            .collect()
    }

    /// All open pools at one instant.
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

    /// The open pools, and the pool of the listeners if a listener has opened it.
    fn with_listening(&self) -> Vec<Pool> {
        let mut pools = self.open_pools();
        let listening = self.listening.as_ref().ok();
        pools.extend(
            listening
                .and_then(|listening| listening.pool.get())
                .cloned(),
        );
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

/// Opens a pool, which shares the main user's logins if it logs in as that user.
fn open(endpoint: &Endpoint, profile: PoolProfile, user: &str, logins: &Arc<Logins>) -> Pool {
    match endpoint.user == user {
        true => plumbing::connect_with(endpoint, profile, Arc::clone(logins)),
        false => Pool::connect_lazy(endpoint.clone(), profile),
    }
}

/// How long opening the pools may take.
const START_UP: Duration = Duration::from_secs(5);
