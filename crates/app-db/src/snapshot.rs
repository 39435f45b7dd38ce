//! All pools of a database at one instant.

use db_pool::{PoolSnapshot, SqlState};

/// All open pools at one instant. Metrics, pages, alerts and sizing read it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The write pool first. Closed pools are left out.
    pub pools: Vec<PoolSnapshot>,
    /// How often transactions were run again, by pool and conflict.
    pub retries: Vec<RetryCount>,
}

/// How often transactions of one pool were run again after one kind of conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryCount {
    /// The pool; all replicas together are `read`.
    pub pool: String,
    /// The SQLSTATE of the conflict.
    pub sqlstate: SqlState,
    /// How often.
    pub count: u64,
}

impl RetryCount {
    pub(crate) fn of(pool: &str, retries: Vec<(SqlState, u64)>) -> Vec<Self> {
        let count = |(sqlstate, count)| Self {
            pool: pool.to_owned(),
            sqlstate,
            count,
        };
        retries.into_iter().map(count).collect()
    }
}
