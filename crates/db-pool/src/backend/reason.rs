//! Why a connection is closed: in one word, and in one event.

use std::panic::Location;

use crate::backend::Doom;

/// What the event tells of the connection besides the reason.
pub(crate) struct Ended<'c> {
    pub(crate) pool: &'c str,
    /// Who had it last, if anybody.
    pub(crate) call_site: Option<&'static Location<'static>>,
    pub(crate) backend_pid: i32,
    pub(crate) generation: u64,
    pub(crate) age_ms: u64,
    pub(crate) uses: u32,
}

impl Doom {
    /// The reason as one word of the log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Closed => "lost",
            Self::Busy => "busy",
            Self::InTransaction => "in_transaction",
            Self::Unobserved => "unobserved",
            Self::Altered => "altered",
            Self::Forsaken => "discarded",
            Self::Silent => "silent",
            Self::Retired => "retired",
            Self::TooIdle => "idle",
            Self::TooOld => "lifetime",
            Self::TooUsed => "uses",
            Self::Surplus => "surplus",
            Self::PoolClosed => "pool_closed",
        }
    }

    /// Whether its last holder gave it back in a state that nobody else may find.
    pub(crate) fn is_dirty(self) -> bool {
        matches!(self, Self::Busy | Self::InTransaction | Self::Unobserved)
    }

    /// The one event of a connection's end: a warning where its holder left it dirty, information where
    /// it was lost, and what is only said on demand where everything went as planned.
    pub(crate) fn report(self, ended: &Ended<'_>) {
        let Ended {
            pool,
            call_site,
            backend_pid,
            generation,
            age_ms,
            uses,
        } = *ended;
        let reason = self.word();
        let call_site = call_site.map(tracing::field::display);
        match self {
            _ if self.is_dirty() => tracing::warn!(
                target: "app_db::pool", pool, reason, call_site, backend_pid, generation, age_ms, uses,
                "a connection came back dirty and is closed"
            ),
            Self::Closed | Self::Silent | Self::Altered => tracing::info!(
                target: "app_db::pool", pool, reason, backend_pid, generation, age_ms, uses,
                "a connection is closed"
            ),
            _ => tracing::debug!(
                target: "app_db::pool", pool, reason, backend_pid, generation, age_ms, uses,
                "a connection is closed"
            ),
        }
    }
}
