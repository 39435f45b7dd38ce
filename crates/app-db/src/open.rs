//! What a [`Database`](crate::Database) does to open its pools: read the configuration, check the limits of
//! the server, warm up.

pub(crate) mod limits;
pub(crate) mod opening;
pub(crate) mod plan;
pub(crate) mod start_up;
