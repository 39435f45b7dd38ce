//! Every checkout of a test is measured: it returns by its deadline, with any outcome.

use std::time::Duration;

use app_db::{Connection, Database, Error, Pool, PoolError};
use harness::secret_in;
use tokio::time::timeout;

use super::Watched;

/// How much later than its deadline a checkout may return.
const LATE: Duration = Duration::from_millis(250);

impl Watched<Pool> {
    /// [`Pool::get`], which returns in time.
    #[track_caller]
    pub(crate) fn get(&self) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
        self.get_timeout(self.profile().checkout_timeout)
    }

    /// [`Pool::get_timeout`], which returns in time.
    #[track_caller]
    pub(crate) fn get_timeout(
        &self,
        patience: Duration,
    ) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
        in_time(patience, Pool::get_timeout(self, patience))
    }
}

impl Watched<Database> {
    /// [`Database::get`], which returns in time.
    #[track_caller]
    pub(crate) fn get(&self) -> impl Future<Output = Result<Connection, Error>> + Send + use<> {
        let patience = self.pool("write").unwrap().profile().checkout_timeout;
        in_time(patience, Database::get(self))
    }

    /// [`Database::get_timeout`], which returns in time.
    #[track_caller]
    pub(crate) fn get_timeout(
        &self,
        patience: Duration,
    ) -> impl Future<Output = Result<Connection, Error>> + Send + use<> {
        in_time(patience, Database::get_timeout(self, patience))
    }
}

/// The result of a checkout. It must come in time, and its error must show no secret.
///
/// The timer beside it runs in the same runtime: a busy machine delays both, and the checkout is polled first.
pub(crate) async fn in_time<T, E: std::error::Error>(
    deadline: Duration,
    checkout: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let outcome = timeout(deadline.saturating_add(LATE), checkout)
        .await
        .unwrap_or_else(|_elapsed| panic!("no answer by {deadline:?}, nor {LATE:?} later"));
    if let Err(error) = &outcome {
        let said = format!("{error} {error:?}");
        assert_eq!(secret_in(&said), None, "{said}");
    }
    outcome
}
