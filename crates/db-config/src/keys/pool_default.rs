//! The built-in values of the pools `read` and `write`.

/// A built-in value of one pool that differs from the value of the profile.
pub(crate) struct PoolDefault {
    pub(crate) path: &'static str,
    pub(crate) value: &'static str,
    /// Whether it holds only if there is a replica for reads.
    pub(crate) with_replica: bool,
}

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
