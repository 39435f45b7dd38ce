//! Why a connection is closed. Each reason has one word, and each close has one event.

use std::panic::Location;

/// Why a backend is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The server or the network closed it.
    Lost,
    /// A request is unanswered, or a query was begun and abandoned.
    Busy,
    /// A transaction is open.
    InTransaction,
    /// The future of a helper's transaction was dropped between two statements.
    Abandoned,
    /// A holder put its own instrumentation into diesel's slot, or replaced the connection with another one.
    Unobserved,
    /// A reset cannot undo a change in its session, or the reset failed.
    Altered,
    /// Its holder panicked, or asked the pool to close it.
    Discarded,
    /// A type or a column has changed, and diesel or the holder keeps an outdated description of it.
    Outdated,
    /// It did not answer its ping.
    Silent,
    /// Its credentials have been replaced.
    Retired,
    /// It was idle for longer than the profile allows.
    Idle,
    /// `max_idle` connections were already idle.
    Spare,
    /// It is older than the profile allows.
    Lifetime,
    /// It has been used as often as the profile allows.
    Uses,
    /// The pool has shrunk.
    Surplus,
    /// The pool is closed.
    PoolClosed,
}

/// The facts about the connection in the event, besides the reason.
pub(crate) struct ClosedBackend<'c> {
    pub(crate) pool: &'c str,
    /// Who had it last, if anybody.
    pub(crate) call_site: Option<&'static Location<'static>>,
    pub(crate) backend_pid: i32,
    pub(crate) generation: u64,
    pub(crate) age_ms: u64,
    pub(crate) uses: u32,
}

impl CloseReason {
    /// Every reason, in the order of their declaration.
    pub(crate) const ALL: [Self; 16] = [
        Self::Lost,
        Self::Busy,
        Self::InTransaction,
        Self::Abandoned,
        Self::Unobserved,
        Self::Altered,
        Self::Discarded,
        Self::Outdated,
        Self::Silent,
        Self::Retired,
        Self::Idle,
        Self::Spare,
        Self::Lifetime,
        Self::Uses,
        Self::Surplus,
        Self::PoolClosed,
    ];

    /// The reasons for which a backend was unfit to be used again.
    pub(crate) const UNFIT: [Self; 9] = [
        Self::Lost,
        Self::Busy,
        Self::InTransaction,
        Self::Abandoned,
        Self::Unobserved,
        Self::Altered,
        Self::Discarded,
        Self::Outdated,
        Self::Silent,
    ];

    /// The reasons among these that are the last holder's fault.
    pub(crate) const DIRTY: [Self; 4] = [
        Self::Busy,
        Self::InTransaction,
        Self::Abandoned,
        Self::Unobserved,
    ];

    /// The reason as one word of the log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Busy => "busy",
            Self::InTransaction => "in_transaction",
            Self::Abandoned => "abandoned",
            Self::Unobserved => "unobserved",
            Self::Altered => "altered",
            Self::Discarded => "discarded",
            Self::Outdated => "outdated",
            Self::Silent => "silent",
            Self::Retired => "retired",
            Self::Idle => "idle",
            Self::Spare => "max_idle",
            Self::Lifetime => "lifetime",
            Self::Uses => "uses",
            Self::Surplus => "surplus",
            Self::PoolClosed => "pool_closed",
        }
    }

    /// Emits the one event of a connection's end. It is a warning if the holder left the connection dirty by
    /// mistake, an info event if the connection was lost, and a debug event if everything went as planned. A future
    /// that is dropped in the middle is no mistake: its client has hung up.
    pub(crate) fn report(self, closed: &ClosedBackend<'_>) {
        let ClosedBackend {
            pool,
            call_site,
            backend_pid,
            generation,
            age_ms,
            uses,
        } = *closed;
        let reason = self.word();
        let call_site = call_site.map(tracing::field::display);
        match self {
            Self::InTransaction | Self::Unobserved => tracing::warn!(
                target: "app_db::pool", pool, reason, call_site, backend_pid, generation, age_ms, uses,
                "a connection came back dirty and is closed"
            ),
            Self::Busy | Self::Abandoned => tracing::debug!(
                target: "app_db::pool", pool, reason, call_site, backend_pid, generation, age_ms, uses,
                "a connection was given up in the middle of its work and is closed"
            ),
            Self::Lost | Self::Silent | Self::Altered | Self::Outdated => tracing::info!(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place() {
        for (place, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason:?}");
        }
        assert_eq!(CloseReason::PoolClosed as usize, CloseReason::ALL.len() - 1);
    }
}
