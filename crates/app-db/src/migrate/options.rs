//! The settings of a migrator that a caller may change.

use std::time::Duration;

use crate::migrate::Migrator;
use crate::migrate::approved_plan::ApprovedPlan;
use crate::migrate::event::{Listener, MigrationEvent};
use crate::migrate::metadata::Phase;
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

    /// Limits how long the migrator retries a migration that did not get a lock. The time counts from the
    /// first failure. At 0 nothing is retried.
    pub fn lock_retry(mut self, limit: Duration) -> Self {
        self.settings.lock_retry = Some(limit);
        self
    }

    /// Ends sessions that hold a lock which a migration waits for, and that have been idle in their
    /// transaction for longer than `limit`. By default the migrator only names them. The role needs the
    /// rights of `pg_signal_backend` for sessions of other roles.
    pub fn end_idle_blockers(mut self, limit: Duration) -> Self {
        self.end_idle_blockers = Some(limit);
        self
    }

    /// Limits how long one statement may run; `None` lifts the limit.
    pub fn statement_timeout(mut self, limit: Option<Duration>) -> Self {
        self.settings.statement_timeout = limit;
        self
    }

    /// Whether to apply a pending migration that is older than an applied one, as diesel does. By default a
    /// run refuses it.
    pub fn allow_out_of_order(mut self, allow: bool) -> Self {
        self.selection.allow_out_of_order = allow;
        self
    }

    /// Applies nothing newer than `version`, which may be written as in the name of the directory. A run
    /// fails if a newer migration is already applied, because a run never goes back.
    pub fn to(mut self, version: impl Into<String>) -> Self {
        self.selection.to = Some(version.into());
        self
    }

    /// Applies at most `count` migrations in one run.
    pub fn at_most(mut self, count: u32) -> Self {
        self.selection.most = Some(count as usize);
        self
    }

    /// Applies the migrations of one phase of a deploy: [`Phase::Expand`] stops before the first migration
    /// of the phase `contract`. [`Phase::Contract`] applies migrations of that phase and stops before the
    /// next other one.
    pub fn phase(mut self, phase: Phase) -> Self {
        self.selection.phase = Some(phase);
        self
    }

    /// Applies only the migrations of an approved plan; if other migrations are pending, the run fails
    /// before any change. Planned migrations that are already applied do not count, so a run can be
    /// repeated.
    pub fn approved(mut self, plan: ApprovedPlan) -> Self {
        self.approved = Some(plan);
        self
    }

    /// Whether one run may apply migrations of the phase `contract` together with others. A migrator with a
    /// configuration for production refuses it, as the old code still runs.
    pub fn allow_both_phases(mut self, allow: bool) -> Self {
        self.selection.one_phase = !allow;
        self
    }

    /// Passes every event of a run to `listen`. The migrator calls it between statements, so it must not
    /// block.
    pub fn on_event(mut self, listen: impl Fn(&MigrationEvent) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listen);
        self
    }

    /// Whether to record a migration whose file has only comments and blanks. By default a run refuses it,
    /// as somebody probably forgot to write it.
    pub fn allow_empty(mut self, allow: bool) -> Self {
        self.allow_empty = allow;
        self
    }

    /// Whether to accept a proxy in front of the server that keeps one server connection for each client.
    /// The migrator refuses a proxy that shares server connections in any case.
    pub fn through_proxy(mut self, allow: bool) -> Self {
        self.server.through_proxy = allow;
        self
    }
}
