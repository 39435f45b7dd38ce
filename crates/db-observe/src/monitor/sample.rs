//! What one look at a pool has found.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::monitor::pooler_figures::PoolerFigures;
use crate::monitor::ports::Ports;
use crate::monitor::server_figures::ServerFigures;

/// One look at one pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// The pool's name.
    pub pool: Arc<str>,
    /// When the look was.
    pub at: SystemTime,
    /// The numbers, or why there are none.
    pub outcome: Result<Figures, SampleFailure>,
    /// The ports of this machine that connections to the server take. `None` if that is not known, and for Unix
    /// sockets.
    pub ports: Option<Ports>,
    /// What the pooler says about itself, or why it says nothing. `None` if it was not asked.
    pub pooler: Option<Result<PoolerFigures, String>>,
}

/// The numbers of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Connections that were open.
    pub total: u32,
    /// Connections that were in use.
    pub active: u32,
    /// Connections that nobody held.
    pub idle: u32,
    /// Callers in the queue.
    pub waiting: u32,
    /// How long the server took to answer `SELECT 1`.
    pub response_time: Duration,
    /// How long it took to open the session that was asked.
    pub connect_time: Duration,
    /// How far a replica is behind its primary; `None` for a primary.
    pub replica_lag: Option<Duration>,
    /// Callers that had to queue, since the pool began.
    pub wait_count: u64,
    /// How long these queued in total.
    pub wait_duration: Duration,
    /// What the server was doing; `None` if it does not say.
    pub server: Option<ServerFigures>,
}

/// Why a look has no numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SampleFailure {
    /// What went wrong.
    pub error: String,
    /// Whether there was no session, or it broke. Otherwise the server has refused the question.
    pub is_connection_error: bool,
}

impl Sample {
    /// The numbers, if the look succeeded.
    #[must_use]
    pub fn figures(&self) -> Option<&Figures> {
        self.outcome.as_ref().ok()
    }

    pub(crate) fn log(&self) {
        let pool = &*self.pool;
        match &self.outcome {
            Ok(figures) => tracing::info!(
                target: "app_db::monitor",
                pool,
                open = figures.total,
                in_use = figures.active,
                idle = figures.idle,
                waiting = figures.waiting,
                wait_count = figures.wait_count,
                wait_ms = figures.wait_duration.as_millis() as u64,
                response_ms = figures.response_time.as_millis() as u64,
                "the pool was sampled"
            ),
            Err(failure) => tracing::warn!(
                target: "app_db::monitor",
                pool,
                error = failure.error,
                is_connection_error = failure.is_connection_error,
                "the pool could not be sampled"
            ),
        }
    }
}
