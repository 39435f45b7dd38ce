//! What must be true of every pool and its server once all connections have been given back.
//!
//! A test that makes a pool wraps it with [`watched`], and ends with one of the `rests` functions of
//! [`Watched`]. They look for everything that a pool may leave behind: connections, places, sessions,
//! locks, tasks, secrets. A test that forgets this fails.

mod in_time;
mod pools;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::{Duration, Instant};

use app_db::{Pool, PoolError, PoolProfile};
use db_pool::plumbing;
use futures_util::future::join_all;
use harness::{Census, Server, TestDatabase, overheard, secret_in};
use tokio::runtime::Handle;

pub(crate) use self::in_time::in_time;
use self::pools::Allowed;
pub(crate) use self::pools::{NoPool, Pools};
use crate::SOON;
use crate::pool::url;

/// A pool at the server of a test's database, which is connected and watched.
pub(crate) async fn open(db: &TestDatabase, profile: PoolProfile) -> Watched {
    open_at(db, &db.url(), profile).await
}

/// The same on another way to that server: through a proxy or a pooler, or with options.
pub(crate) async fn open_at(db: &TestDatabase, way: &str, profile: PoolProfile) -> Watched {
    let census = db.census();
    let pool = Pool::connect(url(way), profile).await.unwrap();
    Watched::new(Some(census), pool)
}

/// Watches a pool, or the pools of a handle, from here on.
pub(crate) fn watched<T: Pools>(db: &TestDatabase, pools: T) -> Watched<T> {
    Watched::new(Some(db.census()), pools)
}

/// The same for pools without a server of the harness.
pub(crate) fn unserved<T: Pools>(pools: T) -> Watched<T> {
    Watched::new(None, pools)
}

/// A pool, or something with several pools, that a test has to check at the end. It is used like the pool
/// itself.
#[must_use = "the test has to end with one of its `rests`"]
pub(crate) struct Watched<T: Pools = Pool> {
    /// Present until the check at the end.
    pools: Option<T>,
    census: Option<Census>,
    /// The sessions that the server may have seen from pools that have ended.
    allowed: Vec<Allowed>,
    /// The most sessions that there may have been, if they were more than the pool has places.
    most: usize,
    patience: Duration,
    is_served: bool,
    is_looked_at: bool,
}

impl<T: Pools> Watched<T> {
    fn new(census: Option<Census>, pools: T) -> Self {
        harness::listen();
        Self {
            pools: Some(pools),
            census,
            allowed: Vec::new(),
            most: 0,
            patience: SOON,
            is_served: true,
            is_looked_at: false,
        }
    }

    /// Allows the server to have seen `most` sessions: the pool was larger for a while, or there was a
    /// session beside it, such as the proof of a rotation.
    pub(crate) fn with_sessions(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Checks another server from now on.
    pub(crate) fn moved_to(mut self, server: &Server, db: &TestDatabase) -> Self {
        self.census = Some(db.census_on(server));
        self
    }

    /// Makes the checks give up soon.
    pub(crate) fn impatient(mut self) -> Self {
        self.patience = Duration::from_millis(300);
        self
    }

    /// Checks the end of a pool whose server answers: the pool is at rest, has all its places, and leaves
    /// nothing behind when it is closed. The places of a pool that the test itself has closed are not
    /// checked.
    ///
    /// # Panics
    /// If any of that is not true.
    pub(crate) async fn rests(mut self) {
        self.closes().await;
        self.has_left_nothing().await;
    }

    /// Checks the end of two pools. Each has tasks until it is closed.
    pub(crate) async fn rests_with<U: Pools>(mut self, mut other: Watched<U>) {
        self.closes().await;
        other.closes().await;
        self.has_left_nothing().await;
        other.has_left_nothing().await;
    }

    /// Checks the end of a pool that reaches no server, or a server that gives it no connection.
    pub(crate) async fn rests_unserved(mut self) {
        self.is_served = false;
        self.closes().await;
        self.has_left_nothing().await;
    }

    /// Drops the handle, which must end the pool, and continues to watch.
    pub(crate) fn without_a_handle(mut self) -> Watched<NoPool> {
        let mut dropped = Watched::new(self.census.take(), NoPool);
        dropped.allowed = self.pools().iter().map(Allowed::of).collect();
        self.pools = None;
        self.is_looked_at = true;
        dropped
    }

    /// Waits until nobody holds anything of the pool, and checks the pool and its server.
    pub(crate) async fn comes_to_rest(&self) {
        let pools = self.pools();
        let census = self.asked().await;
        until_nothing_is_wrong(self.patience, async || {
            let mut open = BTreeMap::<&str, usize>::new();
            for pool in &pools {
                let status = pool.status();
                if (status.in_use, status.waiting, status.open) != (0, 0, status.idle) {
                    return Some(format!("the pool is not at rest: {status}"));
                }
                let sessions = status.open + plumbing::sessions_beside(pool);
                *open.entry(&pool.profile().application_name).or_default() += sessions as usize;
            }
            let census = census?;
            let pooled = pools.iter().any(pools::is_pooled);
            for (name, open) in open {
                let sessions = census.backends(name).await.unwrap();
                let at_work = sessions.iter().any(|session| session.state != "idle");
                if at_work || (sessions.len() > open && !pooled) {
                    return Some(format!("more than {open} idle sessions: {sessions:#?}"));
                }
                let locks = census.advisory_locks(name).await.unwrap();
                if locks > 0 {
                    return Some(format!("{locks} advisory locks are left"));
                }
            }
            None
        })
        .await;
    }

    async fn closes(&mut self) {
        self.comes_to_rest().await;
        if self.is_served {
            self.has_all_its_places().await;
            self.comes_to_rest().await;
        }
        for pool in self.pools() {
            says_no_secret(&pool);
            let beside = plumbing::sessions_beside(&pool) as usize;
            assert_eq!(pool.close(self.patience).await.abandoned, 0);
            let status = pool.status();
            assert_eq!((status.open, status.in_use), (0, 0), "{status:?}");
            self.allowed.push(Allowed::of(&pool).with(beside));
        }
        self.pools = None;
    }

    /// Holds as many connections at once as a pool may have. This fails if the pool has lost a place.
    async fn has_all_its_places(&self) {
        for pool in self.pools() {
            let max = pool.status().max;
            until_nothing_is_wrong(self.patience, async || {
                let all = (0..max).map(|_| pool.get_timeout(self.patience));
                match join_all(all).await.into_iter().find_map(Result::err)? {
                    PoolError::Closed { .. } => None,
                    refused => Some(format!("not all of {max} places can be had: {refused}")),
                }
            })
            .await;
        }
    }

    async fn has_left_nothing(&mut self) {
        until_nothing_is_wrong(self.patience, async || {
            let tasks = Handle::current().metrics().num_alive_tasks();
            (tasks > 0).then(|| format!("{tasks} tasks are left"))
        })
        .await;
        if let Some(census) = self.asked().await {
            for allowed in Allowed::by_name(&self.allowed) {
                let (name, most) = (&allowed.name, self.most.max(allowed.most));
                if allowed.pooled {
                    continue;
                }
                until_nothing_is_wrong(self.patience, async || {
                    let sessions = census.backends(name).await.unwrap();
                    (!sessions.is_empty()).then(|| format!("sessions are left: {sessions:#?}"))
                })
                .await;
                let peak = census.peak(name);
                assert!(peak <= most, "{peak} sessions of {name}, of {most} allowed");
            }
        }
        if let Some(census) = &self.census {
            let said = overheard(census.database());
            assert!(said.is_empty(), "a secret was said: {said:#?}");
        }
        self.is_looked_at = true;
    }

    /// The most sessions of that name that were seen at the same time on the server.
    pub(crate) fn peak(&self, application_name: &str) -> usize {
        let census = self.census.as_ref();
        census.map_or(0, |census| census.peak(application_name))
    }

    fn pools(&self) -> Vec<Pool> {
        self.pools.as_ref().map(T::pools).unwrap_or_default()
    }

    /// The census of the server, if there is a server. It may be down only if the test allows that.
    async fn asked(&self) -> Option<&Census> {
        let census = self.census.as_ref()?;
        (self.is_served || census.is_up().await).then_some(census)
    }
}

impl<T: Pools> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.pools.as_ref().unwrap()
    }
}

impl<T: Pools> Drop for Watched<T> {
    fn drop(&mut self) {
        assert!(
            self.is_looked_at || std::thread::panicking(),
            "nobody has looked at the end of this pool: the test has to end with one of its `rests`"
        );
    }
}

/// # Panics
/// With the problems, if something has been wrong for longer than the patience.
async fn until_nothing_is_wrong(
    patience: Duration,
    mut wrong: impl AsyncFnMut() -> Option<String>,
) {
    let began = Instant::now();
    while let Some(what) = wrong().await {
        assert!(began.elapsed() < patience, "after {patience:?}: {what}");
        // Like `wait_until`, which cannot report what it has found.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Everything that can be printed of a pool.
fn says_no_secret(pool: &Pool) {
    let (status, profile) = (pool.status(), pool.profile());
    let said = format!(
        "{pool:?} {status} {status:?} {profile:?} {}",
        pool.address()
    );
    assert_eq!(secret_in(&said), None, "{said}");
}
