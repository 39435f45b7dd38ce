//! A stream under tokio-postgres that observes PostgreSQL's protocol and saves round trips.
//!
//! [`Wire`] wraps the transport of one connection, above TLS. It knows the protocol and nothing of pools.
//!
//! **What it sees**: the SQLSTATE of every error, the server's own transaction status, what is unanswered,
//! the rows and the duration of every command, the parameters that the server reports. [`Observed`] holds
//! that, readable at any time from any thread; a [`Watcher`] is told of each finished command.
//!
//! **What it rewrites**, under the [`Rules`] of its [`Steering`] and only then: BEGIN travels with the first
//! statement of the transaction, the COMMIT of a transaction that has only read is not waited for, a text
//! that is prepared again is answered from the first time, statements lose their names where a pooler does
//! not keep them, and settings that cannot be the session's travel with each transaction. What cannot work
//! on a session that is shared with other clients is refused with an SQLSTATE.
//!
//! **What it never does**: it opens no connection, runs no task, waits for no clock, and reads no row. A
//! statement that it does not understand passes as it is. Without rules every byte does, and with
//! [`Rules::observes_only`] every statement.

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
