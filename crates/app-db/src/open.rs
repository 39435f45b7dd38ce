//! What opening a [`Database`](crate::Database) reads, asks and says.

pub(crate) mod limits;
pub(crate) mod plan;
pub(crate) mod start_up;
