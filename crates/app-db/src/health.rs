//! Health: one probe per pool.

use std::time::{Duration, Instant};

use db_pool::{Pool, PoolError, Status};
use diesel_async::SimpleAsyncConnection;
use tokio::time::timeout;

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
    /// Whether the service can take traffic: the write pool answers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.write.is_healthy()
    }

    /// Every pool, the write pool first.
    pub fn pools(&self) -> impl Iterator<Item = &PoolHealth> {
        std::iter::once(&self.write).chain(&self.others)
    }
}

/// The state of one pool (req 2.26, 2.27).
#[derive(Debug)]
#[non_exhaustive]
pub struct PoolHealth {
    /// The pool's name.
    pub pool: String,
    /// Its counts, right after the probe.
    pub status: Status,
    /// How long the probe took: a checkout and a round trip.
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

    /// Checks a connection out and asks the server `SELECT 1`.
    pub(crate) async fn probe(pool: &Pool) -> Self {
        let began = Instant::now();
        let profile = pool.profile();
        let probing = async {
            let mut conn = pool.get().await?;
            let asking = conn.batch_execute("SELECT 1");
            // A server that has stopped answers nothing, and a session has no timeout for that.
            match timeout(profile.validation_timeout, asking).await {
                Ok(answer) => Ok(answer?),
                Err(_elapsed) => Err(Error::Silent(profile.validation_timeout)),
            }
        };
        let error = match probing.await {
            // A pool whose every connection is at work is busy, not ill, and must not take the service
            // out of its load balancer on top; whether the server is alive, a login tells.
            Err(Error::Pool(error)) if is_busy(&error) => pool.probe().await.err().map(Error::Pool),
            outcome => outcome.err(),
        };
        Self {
            pool: pool.name().to_owned(),
            status: pool.status(),
            latency: began.elapsed(),
            error,
        }
    }
}

/// Whether nothing is wrong but that every connection is at work.
fn is_busy(error: &PoolError) -> bool {
    matches!(error, PoolError::Timeout { status, last_failure: None, .. } if status.in_use > 0)
}
