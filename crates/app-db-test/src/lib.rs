#![doc = include_str!("../README.md")]

mod account;
mod admin;
mod error;
mod installation;
mod leftovers;
mod private_server;
mod project;
mod server;
mod template;
mod test_database;

pub use self::error::TestDatabaseError;
pub use self::test_database::TestDatabase;

/// Parts that this workspace's own test harness uses. They are no public interface.
#[doc(hidden)]
pub mod plumbing {
    pub use crate::account::unprivileged;
    pub use crate::installation::{installations, versions};
}
