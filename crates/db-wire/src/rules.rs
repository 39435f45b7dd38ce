//! How the wire should treat the statements and transactions of one connection.

use std::sync::Arc;

use crate::sql::local_settings::LocalSettings;

/// How the wire treats statements and transactions of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a caller writes the rules that it sets, and takes the others from `..Rules::default()`"
)]
pub struct Rules {
    /// Whether every statement passes as its client sends it. The wire then only watches, and ignores the rules below
    /// that rewrite, hold back or refuse statements.
    pub observes_only: bool,
    /// How statements are named on the server.
    pub naming: Naming,
    /// How many texts are kept prepared; 0 prepares each statement as its client asks.
    pub statement_cache: usize,
    /// Whether BEGIN travels with the first statement, and the wire does not wait for the COMMIT of a transaction that
    /// has only read.
    pub defer_begin: bool,
    /// Settings that the session cannot keep. The wire puts them into each transaction.
    pub local_settings: Option<LocalSettings>,
    /// Whether other clients share the session, so that the wire refuses LISTEN and session locks.
    pub shared_session: bool,
    /// Whether the wire also refuses a SET that other clients of the session would see.
    pub refuses_set: bool,
    /// Whether the pooler keeps IntervalStyle for each of its clients, as PgBouncer does since 1.20.
    pub keeps_interval_style: bool,
    /// The text with which the pool resets the session, if it resets it.
    pub reset: Option<Arc<str>>,
    /// Whether the pool closes a session that its holder may have altered, because no reset undoes everything.
    pub closes_altered: bool,
    /// Whether a transaction that names no isolation level is SERIALIZABLE.
    pub serializable_by_default: bool,
    /// Whether a transaction that names no isolation level is READ COMMITTED. Then queries of a READ ONLY transaction
    /// run before its BEGIN is sent, as long as they need no transaction.
    pub read_committed_by_default: bool,
}

impl Rules {
    /// Whether the wire holds BEGIN back until the first statement.
    pub(crate) fn holds_begin(&self) -> bool {
        // Settings that travel in the transaction's first batch need the BEGIN in that batch.
        !self.observes_only && (self.defer_begin || self.local_settings.is_some())
    }
}

/// How statements are named on the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a statement has a name or none")]
pub enum Naming {
    /// By the client's own names.
    #[default]
    Named,
    /// Not at all: each is parsed in the batch that runs it, and every pooler sends a batch to one server.
    Unnamed,
}
