//! Waits until another process has applied the migrations.

use std::time::{Duration, Instant};

use db_pool::ConnectFailure;

use crate::migrate::Migrator;
use crate::migrate::error::MigrateError;

impl Migrator {
    /// Waits until every migration of the source is applied. This asks about once a second, applies nothing
    /// and takes no lock. Migrations that only the server knows do not matter.
    ///
    /// This also waits for a server that is unreachable, that is starting, or that does not have the
    /// database yet.
    ///
    /// # Errors
    ///
    /// After `limit`, [`MigrateError::StillPending`] or the last [`MigrateError::Connect`]; at once, the
    /// other errors of [`assert_up_to_date`](Self::assert_up_to_date).
    pub async fn wait(&self, limit: Duration) -> Result<(), MigrateError> {
        let began = Instant::now();
        let mut told = None;
        loop {
            let (waits_for, error) = match self.assert_up_to_date().await {
                Ok(()) => return Ok(()),
                Err(MigrateError::Pending { count, oldest }) => {
                    let error = MigrateError::StillPending {
                        waited: began.elapsed(),
                        pending: count,
                    };
                    (oldest, error)
                }
                Err(MigrateError::Connect { origin, source }) if passes(source.failure()) => {
                    let error = MigrateError::Connect { origin, source };
                    ("the server".to_owned(), error)
                }
                Err(error) => return Err(error),
            };
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(error);
            }
            if told.as_ref() != Some(&waits_for) {
                tracing::info!(target: "app_db::migrate", waits_for, ?limit, "waiting until the migrations are applied");
                told = Some(waits_for);
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(500..=1000)).min(left)).await;
        }
    }
}

fn passes(failure: ConnectFailure) -> bool {
    matches!(
        failure,
        ConnectFailure::Unreachable
            | ConnectFailure::UnknownHost
            | ConnectFailure::TimedOut
            | ConnectFailure::NoSuchDatabase
            | ConnectFailure::TooManyConnections
            | ConnectFailure::Unavailable
    )
}
