//! How a [`Database`](crate::Database) opens its pools: it reads the configuration, checks the limits of
//! the server, and warms up.

pub(crate) mod limits;
pub(crate) mod opening;
pub(crate) mod plan;
pub(crate) mod start_up;
