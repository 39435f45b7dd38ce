//! The reports of the handle about its pools.

use db_pool::{Pool, StatementStats, Status};

use crate::database::Database;
use crate::health::{Health, PoolHealth};
use crate::snapshot::Snapshot;

impl Database {
    /// Probes all open pools at the same time.
    ///
    /// It answers within 250 ms, however full or slow a pool is. A probe takes no connection away from a caller. It
    /// uses an idle connection, or a session beside the pool, which the pool keeps as long as probes go on.
    ///
    /// Dropping the future loses nothing.
    pub async fn health(&self) -> Health {
        let readers = self.pools.readers.iter().map(|pool| (pool, true));
        let further = self.pools.open_further_pools().map(|pool| (pool, false));
        let others = readers.chain(further);
        let others = others.map(|(pool, serves_reads)| PoolHealth::probe(pool, serves_reads));
        let (write, others) = tokio::join!(
            PoolHealth::probe(&self.pools.write, false),
            futures_util::future::join_all(others)
        );
        Health { write, others }
    }

    /// The counts of every open pool at this instant, the write pool first. This never waits.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.pools.open_pools().iter().map(Pool::status).collect()
    }

    /// All facts about every open pool at this instant, the write pool first. This never waits.
    ///
    /// Closed pools are left out.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.pools.snapshot()
    }

    /// Every open pool, the write pool first.
    #[must_use]
    pub fn open_pools(&self) -> Vec<Pool> {
        self.pools.open_pools()
    }

    /// The cost of the statements of each open pool, grouped by fingerprint, the most expensive first.
    ///
    /// It never waits for a statement. [`Pool::statements`] says how many it keeps.
    #[must_use]
    pub fn statements(&self) -> Vec<StatementStats> {
        let pools = self.pools.open_pools();
        let mut statements: Vec<_> = pools.iter().flat_map(Pool::statements).collect();
        statements.sort_by_key(|statement| std::cmp::Reverse(statement.total));
        statements
    }

    /// Resets the cost of all statements.
    pub fn reset_statements(&self) {
        self.pools
            .open_pools()
            .iter()
            .for_each(Pool::reset_statements);
    }
}
