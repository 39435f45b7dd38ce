//! The actions that run after the COMMIT of the work.

pub(crate) use db_pool::plumbing::{Actions as Left, run_all};
