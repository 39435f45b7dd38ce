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
use crate::transaction::budget::RetryBudget;
use crate::transaction::retry::Retry;

/// The write pool, those for reading, and the further ones, with the budgets that their transactions share.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(crate) write: Pool,
    /// One for each replica; without a replica the one of `[database.pools.read]`, where that is configured.
    pub(crate) readers: Vec<Pool>,
    /// Whose turn it is among them.
    turn: AtomicUsize,
    further: BTreeMap<String, FurtherPool>,
    pub(crate) retry: Retry,
    /// What the transactions of the write pool, and those of all replicas, pay their retries with.
    pub(crate) write_budget: RetryBudget,
    read_budget: RetryBudget,
    /// The credentials of the last rotation and the user they replaced; orders rotations and the making
    /// of further pools.
    rotated: Mutex<Vec<(String, Credentials)>>,
    /// One rotation at a time.
    rotating: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

impl Pools {
    pub(crate) async fn open(plan: Plan) -> Result<Self, Error> {
        let began = Instant::now();
        let write = Pool::connect(plan.write.0, plan.write.1).await?;
        log_profile(&write);
        limits::warn_of_oversize(&write, plan.on_primary.into_iter()).await;
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
            rotated: Mutex::default(),
            rotating: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// The pool of the next read, and what its transactions pay their retries with.
    pub(crate) fn reader(&self) -> (&Pool, &RetryBudget) {
        match self.readers.len() {
            0 => (&self.write, &self.write_budget),
            count => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                (&self.readers[turn % count], &self.read_budget)
            }
        }
    }

    /// A further pool by its name, opened when it is first asked for, and what its transactions pay with.
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
        // A pool that is opened from here on finds the rotation in the list; one that was opened during
        // the proofs is found among the open ones.
        let mut rotated = self.rotated.lock().unwrap_or_else(PoisonError::into_inner);
        let mut concerned = self.open_pools();
        concerned.retain(|pool| pool.user() == user);
        rotated.push((user, credentials.clone()));
        Ok(plumbing::put_in_place(&concerned, &credentials))
    }

    /// Closes every pool, opened or not.
    pub(crate) async fn close(&self, grace: Duration) -> Closed {
        let pools = {
            // A pool that is opened from here on is closed at once.
            let _rotated = self.rotated.lock().unwrap_or_else(PoisonError::into_inner);
            self.closed.store(true, Ordering::Release);
            self.open_pools()
        };
        let closing = pools.iter().map(|pool| pool.close(grace));
        futures_util::future::join_all(closing)
            .await
            .into_iter()
            .sum()
    }

    /// Whether a pool logs in as this user, or would when it is opened.
    fn is_used(&self, user: &str) -> bool {
        let rotated = self.rotated.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unopened = self
            .further
            .values()
            .filter(|further| further.pool.get().is_none());
        self.open_pools().iter().any(|pool| pool.user() == user)
            || unopened.any(|further| further.current(&rotated).user == user)
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

    fn open_further<'f>(&self, further: &'f FurtherPool) -> &'f Pool {
        further.pool.get_or_init(|| {
            let rotated = self.rotated.lock().unwrap_or_else(PoisonError::into_inner);
            let pool = Pool::connect_lazy(further.current(&rotated), further.profile.clone());
            log_profile(&pool);
            if self.closed.load(Ordering::Acquire) {
                plumbing::begin_close(&pool);
            }
            pool
        })
    }
}

/// How long opening the pools may take (req 3.12).
const START_UP: Duration = Duration::from_secs(5);
