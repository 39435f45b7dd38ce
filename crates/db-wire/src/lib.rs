#![doc = include_str!("../README.md")]

mod command;
mod conversation;
mod last_statement;
mod observed;
mod parameters;
mod prepared;
mod protocol;
mod request;
mod rules;
mod server_error;
mod sql;
mod steering;
#[cfg(test)]
mod tests;
mod transaction_status;
mod unresolved;
mod unsent_begin;
mod wire;

pub use self::command::{Command, Note, Watcher};
pub use self::last_statement::LastStatement;
pub use self::observed::Observed;
pub use self::prepared::texts::MAX_NOTED;
pub use self::rules::{Naming, Rules};
pub use self::server_error::ServerError;
pub use self::sql::local_settings::{LocalSettings, literal};
pub use self::sql::residue::Residue;
pub use self::steering::Steering;
pub use self::transaction_status::TransactionStatus;
pub use self::unresolved::Unresolved;
pub use self::wire::Wire;
