//! Transactions for the tests of a service: they leave nothing behind.

use std::panic::Location;
use std::sync::Arc;

use crate::database::Database;
use crate::error::{AT_WORK, Error};
use crate::transaction::attempt::{Before, has_ended_itself, roll_back};
use crate::transaction::progress::Progress;
use crate::work::Work;

impl Database {
    /// Runs work in a transaction on one connection of the write pool and rolls it back, whatever comes of it.
    ///
    /// For tests: each sees the database as it was found, and several can run at once on one database. The
    /// work is run once, gets a plain `&mut AsyncPgConnection`, and may nest transactions of diesel's, which
    /// are savepoints there. What never happens is what waits for a COMMIT: deferred constraints are not
    /// checked (`SET CONSTRAINTS ALL IMMEDIATE` checks them), NOTIFY is not sent, and what was left by
    /// [`after_commit`](crate::ConnectionExt::after_commit) is dropped. Sequences keep their new values, as
    /// they do after any rollback.
    ///
    /// ```no_run
    /// use app_db::{Config, Database, Error};
    /// use diesel::prelude::*;
    /// use diesel_async::{AsyncPgConnection, RunQueryDsl};
    ///
    /// diesel::table! { accounts (id) { id -> BigInt, balance -> BigInt } }
    ///
    /// async fn open(conn: &mut AsyncPgConnection, id: i64) -> QueryResult<usize> {
    ///     let account = (accounts::id.eq(id), accounts::balance.eq(0));
    ///     diesel::insert_into(accounts::table).values(account).execute(conn).await
    /// }
    ///
    /// #[tokio::test]
    /// async fn an_account_is_opened_empty() -> Result<(), Box<dyn std::error::Error>> {
    ///     let db = Database::connect(&Config::load()?).await?;
    ///     let outcome = db.test_transaction(async |conn| {
    ///         open(conn, 7).await?;
    ///         let balance: i64 =
    ///             accounts::table.find(7).select(accounts::balance).first(conn).await?;
    ///         assert_eq!(balance, 0);
    ///         Ok::<_, Error>(())
    ///     });
    ///     Ok(outcome.await?) // the account is gone again
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The work's own; [`Error::Pool`]; [`Error::Unfinished`] when the work has ended the transaction itself,
    /// so that there was nothing left to roll back.
    ///
    /// Dropping the future, or a panic in the work, rolls back as well.
    #[track_caller]
    pub fn test_transaction<T, E>(
        &self,
        work: impl Work<T, E>,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<Error> + Send,
    {
        let caller = Location::caller();
        let transaction = self.transaction();
        async move {
            let (mut conn, observed) = transaction.open(caller, &Progress::new()).await?;
            let before = Before::of(&observed);
            let outcome = AT_WORK.scope(Arc::clone(&observed), work(&mut conn)).await;
            let ended = has_ended_itself(&observed, &before);
            roll_back(&mut conn, &observed).await;
            match ended {
                Some(ended) => Err(ended.into()),
                None => outcome,
            }
        }
    }
}
