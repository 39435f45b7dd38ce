//! Transactions for the tests of a service, which leave nothing behind.

use std::panic::Location;
use std::sync::Arc;

use db_pool::plumbing::{self, Observer};

use crate::error::Error;
use crate::error::conversions::CURRENT_CONNECTION;
use crate::transaction::Transaction;
use crate::transaction::attempt::{Before, has_ended_itself, roll_back};
use crate::transaction::progress::TransactionProgress;
use crate::work::Work;

impl Transaction<'_> {
    /// Runs the work once and always rolls back; see
    /// [`Database::test_transaction`](crate::Database::test_transaction).
    #[track_caller]
    pub(crate) fn run_and_roll_back<T, E>(
        self,
        work: impl Work<T, E>,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<Error> + Send,
    {
        let caller = Location::caller();
        async move {
            let (mut conn, observed) = self.open(caller, &TransactionProgress::new()).await?;
            if let Some(observer) = Observer::of(&mut conn) {
                // Whatever the work returns, nothing is committed.
                observer.keep_commit();
            }
            let before = Before::of(&observed);
            let working = CURRENT_CONNECTION.scope(Arc::clone(&observed), work(&mut conn));
            let outcome = plumbing::scope(self.pool, caller, working).await;
            let ended = has_ended_itself(&observed, &before);
            roll_back(&mut conn, &observed).await;
            match ended {
                Some(ended) => Err(ended.into()),
                None => outcome,
            }
        }
    }
}
