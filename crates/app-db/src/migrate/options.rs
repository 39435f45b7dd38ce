//! What a caller may set of a migrator.

use std::time::Duration;

use crate::migrate::Migrator;
use crate::migrate::source::MigrationSource;

impl Migrator {
    /// Takes the migrations from another source.
    pub fn with_source(mut self, source: MigrationSource) -> Self {
        self.source = source;
        self
    }

    /// Limits how long [`run`](Self::run), [`revert`](Self::revert) and [`redo`](Self::redo) wait for
    /// another migrator.
    pub fn lock_wait(mut self, limit: Duration) -> Self {
        self.settings.lock_wait = limit;
        self
    }

    /// Limits how long one statement waits for a lock. A migration that reaches the limit is tried
    /// again.
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.settings.lock_timeout = Some(limit);
        self
    }

    /// Limits how long a migration is tried again that did not get a lock. The time counts from the first
    /// failure. At 0 nothing is tried again.
    pub fn lock_retry(mut self, limit: Duration) -> Self {
        self.settings.lock_retry = Some(limit);
        self
    }

    /// Ends sessions that hold a lock which a migration waits for, and have been idle in their transaction
    /// for longer than `limit`. By default they are only named. The role needs the rights of
    /// `pg_signal_backend` for sessions of other roles.
    pub fn end_idle_blockers(mut self, limit: Duration) -> Self {
        self.end_idle_blockers = Some(limit);
        self
    }

    /// Limits how long one statement may run; `None` lifts the limit.
    pub fn statement_timeout(mut self, limit: Option<Duration>) -> Self {
        self.settings.statement_timeout = limit;
        self
    }

    /// Whether to apply a pending migration that is older than an applied one, as diesel does. By
    /// default it is refused.
    pub fn allow_out_of_order(mut self, allow: bool) -> Self {
        self.allow_out_of_order = allow;
        self
    }

    /// Whether to record a migration whose file has no statement, only comments and blanks. By default it
    /// is refused: somebody forgot to write it.
    pub fn allow_empty(mut self, allow: bool) -> Self {
        self.allow_empty = allow;
        self
    }

    /// Whether to accept a proxy in front of the server that keeps one server connection for each
    /// client. A proxy that shares server connections is refused in any case.
    pub fn through_proxy(mut self, allow: bool) -> Self {
        self.server.through_proxy = allow;
        self
    }
}
