//! What is built in for one pool by its name.

/// A built-in value of one pool that differs from the profile's.
pub(crate) struct PoolDefault {
    pub(crate) path: &'static str,
    pub(crate) value: &'static str,
    /// Whether it holds only where reads have a replica of their own.
    pub(crate) with_replica: bool,
}

/// req 0.23 for the statement timeout, req 2.30 and 2.31 for the sizes.
pub(crate) const POOL_DEFAULTS: [PoolDefault; 5] = [
    PoolDefault {
        path: "pools.read.statement_timeout",
        value: "10s",
        with_replica: false,
    },
    PoolDefault {
        path: "pools.write.max",
        value: "20",
        with_replica: true,
    },
    PoolDefault {
        path: "pools.write.min_idle",
        value: "5",
        with_replica: true,
    },
    PoolDefault {
        path: "pools.read.max",
        value: "50",
        with_replica: true,
    },
    PoolDefault {
        path: "pools.read.min_idle",
        value: "10",
        with_replica: true,
    },
];
