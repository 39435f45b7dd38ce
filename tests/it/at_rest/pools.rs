//! Things that have pools, and what a server may see of them.

use app_db::{Database, Pool};
use db_pool::Pooler;

/// A thing that has pools.
pub(crate) trait Pools {
    fn pools(&self) -> Vec<Pool>;
}

impl Pools for Pool {
    fn pools(&self) -> Vec<Pool> {
        vec![self.clone()]
    }
}

/// The open pools.
impl Pools for Database {
    fn pools(&self) -> Vec<Pool> {
        let open = self.status().into_iter();
        open.map(|status| self.pool(&status.pool).unwrap().clone())
            .collect()
    }
}

/// No pool: it could not be opened, or its handle is gone.
pub(crate) struct NoPool;

impl Pools for NoPool {
    fn pools(&self) -> Vec<Pool> {
        Vec::new()
    }
}

/// How many sessions with an `application_name` the server may have seen.
#[derive(Clone)]
pub(super) struct Allowed {
    pub(super) name: String,
    pub(super) most: usize,
    /// Its sessions on the server belong to a pooler.
    pub(super) pooled: bool,
}

impl Allowed {
    pub(super) fn of(pool: &Pool) -> Self {
        Self {
            name: pool.profile().application_name.clone(),
            most: pool.profile().max as usize,
            pooled: is_pooled(pool),
        }
    }

    /// Allows further sessions, which the pool had beside its connections.
    pub(super) fn with(mut self, beside: usize) -> Self {
        self.most += beside;
        self
    }

    /// The sum for all pools that share a name.
    pub(super) fn by_name(all: &[Self]) -> Vec<Self> {
        let mut by_name = Vec::<Self>::new();
        for one in all {
            match by_name.iter_mut().find(|others| others.name == one.name) {
                Some(others) => others.most += one.most,
                None => by_name.push(one.clone()),
            }
        }
        by_name
    }
}

pub(super) fn is_pooled(pool: &Pool) -> bool {
    !matches!(pool.status().pooler, Pooler::None | Pooler::Unknown)
}
