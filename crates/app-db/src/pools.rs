//! The pools of one database: opened together, rotated together, closed together.

use db_pool::plumbing;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use db_config::Credentials;
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
        let write = Pool::connect(plan.write.0, plan.write.1).await?;
        log_profile(&write);
        limits::warn_of_oversize(&write, plan.on_primary.into_iter());
        let readers: Vec<_> = plan
            .readers
            .into_iter()
            .map(|(endpoint, profile)| Pool::connect_lazy(endpoint, profile))
            .inspect(log_profile)
            .collect();
        warm_up(&write, &readers, START_UP.saturating_sub(began.elapsed())).await;
        Ok(Self {
            write,
            readers,
            turn: AtomicUsize::new(0),
            further: plan.further,
            retry: plan.retry,
            write_budget: RetryBudget::new(plan.retry.budget),
            read_budget: RetryBudget::new(plan.retry.budget),
            order: Mutex::default(),
            rotating: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
        })
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
        let pools = self.open_pools();
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
        let mut concerned = self.open_pools();
        concerned.retain(|pool| pool.user() == user);
        for further in self.further.values() {
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
