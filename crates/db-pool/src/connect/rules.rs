//! How the wire should treat the statements and transactions of a pool, given what is at the other
//! end.

use db_wire::{Naming, Rules};

use crate::connect::pooler::Pooler;
use crate::connect::session_facts::SessionFacts;
use crate::connect::session_settings::SessionSettings;
use crate::profile::{PoolProfile, Reset, Statements, WireMode};

/// The rules for the statements and transactions of a pool behind this pooler.
pub(crate) fn of(
    pooler: Pooler,
    profile: &PoolProfile,
    settings: &SessionSettings,
    facts: &SessionFacts,
) -> Rules {
    let shared = matches!(pooler, Pooler::Shared { .. });
    let naming = match (profile.statements, pooler) {
        (Statements::Named, _) => Naming::Named,
        (Statements::Unnamed, _) | (_, Pooler::Shared { keeps_names: false }) => Naming::Unnamed,
        _ => Naming::Named,
    };
    Rules {
        observes_only: profile.wire == WireMode::Observe,
        naming,
        statement_cache: profile.statement_cache as usize,
        defer_begin: profile.defer_begin,
        local_settings: shared.then(|| settings.local(facts)).flatten(),
        shared_session: shared,
        refuses_set: shared && profile.reset != Reset::Never,
        // PgBouncer keeps it since 1.20. The names that prove this version came with 1.21.
        keeps_interval_style: matches!(pooler, Pooler::Shared { keeps_names: true }),
        reset: settings.reset_text(profile.reset, pooler),
        closes_altered: pooler == Pooler::Pgpool && profile.reset != Reset::Never,
        serializable_by_default: settings.default_isolation_is("serializable"),
        read_committed_by_default: settings.default_isolation_is("read committed"),
    }
}
