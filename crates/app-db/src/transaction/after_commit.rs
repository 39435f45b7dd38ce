//! The actions that the work left for after its COMMIT.

pub(crate) use db_pool::plumbing::{Actions as Left, run_all};
