//! Health: one probe per pool.

use db_pool::plumbing;
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
    /// Whether the service can take traffic, which it can if the write pool answers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.write.is_healthy()
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

    /// Checks a connection out and asks the server `SELECT 1`, within twice the validation timeout.
    pub(crate) async fn probe(pool: &Pool) -> Self {
        let began = Instant::now();
        let profile = pool.profile();
        let patience = profile.validation_timeout;
        let error = match timeout(patience, ask(pool)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) if !is_busy(&error) => Some(error),
            // Every connection is in use, or the pool could not hand one out in time. A busy
            // pool is not ill, and a load balancer that withdrew the service would make it
            // worse. A login beside the pool tells whether the server is alive.
            _ => match timeout(patience, plumbing::probe(pool)).await {
                Ok(outcome) => outcome.err().map(Error::Pool),
                Err(_elapsed) => Some(Error::Silent(patience)),
            },
        };
        Self {
            pool: pool.name().to_owned(),
            status: pool.status(),
            latency: began.elapsed(),
            error,
        }
    }
}

async fn ask(pool: &Pool) -> Result<(), Error> {
    let mut conn = pool.get().await?;
    Ok(conn.batch_execute("SELECT 1").await?)
}

/// Whether the only trouble is that every connection is in use.
fn is_busy(error: &Error) -> bool {
    match error {
        Error::Pool(PoolError::Timeout {
            status,
            last_failure: None,
            ..
        }) => status.in_use > 0,
        Error::Pool(PoolError::QueueFull { .. }) => true,
        // The caller asks from inside work that holds the last connection.
        Error::Pool(PoolError::Nested { .. }) => true,
        _ => false,
    }
}
