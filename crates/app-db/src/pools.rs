//! The pools of one database: opened together, rotated together, closed together.

use db_pool::plumbing;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use db_config::{ConfigError, Credentials};
use db_pool::{Closed, Pool, Rotation};

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
    /// Hands out no connection: listeners connect beside it, with its endpoint and its credentials.
    listening: Result<FurtherPool, ConfigError>,
    pub(crate) retry: Retry,
    /// The transactions of the write pool pay their retries from this budget; the reads of all replicas
    /// share the next one.
    pub(crate) write_budget: RetryBudget,
    read_budget: RetryBudget,
    /// Orders rotations, the opening of further pools, and closing.
    order: Mutex<()>,
    /// Lets one rotation run at a time.
    rotating: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

impl Pools {
    pub(crate) async fn open(plan: Plan) -> Result<Self, Error> {
        let began = Instant::now();
        let (endpoint, profile) = plan.write.clone();
        let write = Pool::connect(endpoint, profile).await?;
        limits::warn_of_oversize(&write, plan.on_primary.iter().cloned());
        let pools = Self::around(write, plan);
        let patience = START_UP.saturating_sub(began.elapsed());
        warm_up(&pools.write, &pools.readers, patience).await;
        Ok(pools)
    }

    /// The same without a server.
    pub(crate) fn open_lazy(plan: Plan) -> Self {
        let (endpoint, profile) = plan.write.clone();
        Self::around(Pool::connect_lazy(endpoint, profile), plan)
    }

    fn around(write: Pool, plan: Plan) -> Self {
        log_profile(&write);
        let readers = plan.readers.into_iter();
        let readers = readers.map(|(endpoint, profile)| Pool::connect_lazy(endpoint, profile));
        Self {
            write,
            readers: readers.inspect(log_profile).collect(),
            turn: AtomicUsize::new(0),
            further: plan.further,
            listening: plan.listening,
            retry: plan.retry,
            write_budget: RetryBudget::new(plan.retry.budget),
            read_budget: RetryBudget::new(plan.retry.budget),
            order: Mutex::default(),
            rotating: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
        }
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

    /// Replaces the credentials of every pool that logs in as the rotated user; see
    /// [`Database::rotate`](crate::Database::rotate).
    pub(crate) async fn rotate(&self, credentials: Credentials) -> Result<Rotation, Error> {
        let _alone = self.rotating.lock().await;
        let pools = self.with_listening();
        let user = match self.is_used(credentials.user()) {
            true => credentials.user().to_owned(),
            false => self.write.user(),
        };
        let proofs = pools
            .iter()
            .filter(|pool| pool.user() == user)
            .map(|pool| plumbing::prove(pool, &credentials));
        let _proofs = futures_util::future::try_join_all(proofs).await?;
        // A further pool that opens after this finds the new credentials. One that opened while they were
        // proved is among the open pools now.
        let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut concerned = self.with_listening();
        concerned.retain(|pool| pool.user() == user);
        for further in self.further.values().chain(&self.listening) {
            further.rotate(&user, &credentials);
        }
        Ok(plumbing::put_in_place(&concerned, &credentials))
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

    /// The open pools, and the one of listeners if there was a listener.
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
            let pool = Pool::connect_lazy(endpoint, further.profile.clone());
            log_profile(&pool);
            if self.closed.load(Ordering::Acquire) {
                plumbing::begin_close(&pool);
            }
            pool
        })
    }
}

/// How long opening the pools may take.
const START_UP: Duration = Duration::from_secs(5);
