//! Health: one probe per pool.

use db_pool::plumbing;
use std::time::{Duration, Instant};

use db_pool::{Pool, Status};

use crate::error::Error;

/// The state of every pool, after one probe each.
#[derive(Debug)]
#[non_exhaustive]
pub struct Health {
    /// The write pool.
    pub write: PoolHealth,
    /// The other pools in use.
    pub others: Vec<PoolHealth>,
}

impl Health {
    /// Whether the service can take traffic: the write pool is healthy, and so is a pool that reads can run on.
    ///
    /// One of several replicas is enough. If all were needed, the loss of one would withdraw every instance of the
    /// service. Pools with other names do not count.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let mut readers = self
            .others
            .iter()
            .filter(|pool| pool.serves_reads)
            .peekable();
        let can_read = readers.peek().is_none() || readers.any(PoolHealth::is_healthy);
        self.write.is_healthy() && can_read
    }

    /// Every pool, the write pool first.
    pub fn pools(&self) -> impl Iterator<Item = &PoolHealth> {
        std::iter::once(&self.write).chain(&self.others)
    }
}

/// The state of one pool, as a probe found it.
#[derive(Debug)]
#[non_exhaustive]
pub struct PoolHealth {
    /// The pool's name.
    pub pool: String,
    /// The counts of the pool, right after the probe.
    pub status: Status,
    /// Whether [`Database::read`](crate::Database::read) runs on it, and not on the write pool.
    pub serves_reads: bool,
    /// How long the probe took, at most a quarter of a second.
    pub latency: Duration,
    /// Why the probe failed.
    pub error: Option<Error>,
}

impl PoolHealth {
    /// Whether the probe was answered.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.error.is_none()
    }

    /// Asks the server for a sign of life, on an idle connection or beside the pool.
    pub(crate) async fn probe(pool: &Pool, serves_reads: bool) -> Self {
        let began = Instant::now();
        let error = match plumbing::probe(pool, PATIENCE).await {
            Some(answer) => answer.err().map(Error::Pool),
            None => Some(Error::Silent(PATIENCE)),
        };
        Self {
            pool: pool.name().to_owned(),
            status: pool.status(),
            serves_reads,
            latency: began.elapsed(),
            error,
        }
    }
}

/// How long a probe may take. Health has to be known within 250 ms, so that an orchestrator that waits for one
/// second gets the answer.
const PATIENCE: Duration = Duration::from_millis(225);
