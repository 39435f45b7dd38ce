//! What work can ask of its plain `&mut AsyncPgConnection`; see [`Work`](crate::Work).

use db_pool::plumbing::Observer;
use db_pool::{CancelToken, ServerError, TransactionStatus};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

/// Gives a plain connection access to what its pool knows about it.
pub trait ConnectionExt {
    /// The last error that the server reported on this connection, with its exact SQLSTATE, constraint and routine.
    /// The error type that the failure has become since does not matter.
    ///
    /// `None` if there was no error, if the connection belongs to no pool, or if the caller has
    /// replaced its instrumentation.
    fn last_error(&mut self) -> Option<ServerError>;

    /// A token that other code can use to cancel what this connection is doing, while this work waits for it.
    ///
    /// Unlike the token of `AsyncPgConnection::cancel_token`, it also works over Unix sockets and without TLS.
    /// `None` if the connection belongs to no pool, or if the caller has replaced its instrumentation.
    fn pool_cancel_token(&mut self) -> Option<CancelToken>;

    /// Registers an action that runs once the transaction around this work is known to be committed. Outside a
    /// transaction it runs at once.
    ///
    /// Actions run after the server has answered COMMIT, in the order in which the work registered them, on the task
    /// that awaits the transaction. So an action must not block. If an action panics, the others run first and then
    /// the panic goes on.
    ///
    /// This works inside [`Database::write`](crate::Database::write), [`Transaction`](crate::Transaction) and
    /// [`OpenTransaction`](crate::OpenTransaction), and in diesel's own `conn.transaction` on a connection from
    /// [`Database::get`](crate::Database::get). An action is dropped without running after a rollback, a retry or
    /// [`Error::CommitUnknown`](crate::Error::CommitUnknown). If SQL text began the transaction, the library does
    /// not recognise its COMMIT, and drops the action with a warning.
    fn after_commit(&mut self, action: impl FnOnce() + Send + 'static);

    /// Says that the next statement is the last of its transaction: COMMIT travels with it, which saves a round
    /// trip.
    ///
    /// ```no_run
    /// # use app_db::ConnectionExt;
    /// # use diesel_async::{AsyncPgConnection, RunQueryDsl};
    /// # async fn pay(conn: &mut AsyncPgConnection) -> diesel::QueryResult<usize> {
    /// diesel::sql_query("UPDATE accounts SET balance = balance - 1").execute(conn.and_commit()).await
    /// # }
    /// ```
    ///
    /// This works in [`Database::write`](crate::Database::write), in [`Transaction`](crate::Transaction), and in a
    /// plain `conn.transaction`. If the statement fails, the server skips COMMIT and the work can roll back as
    /// usual. A conflict at COMMIT, or a violated deferred constraint, is the error of that statement.
    ///
    /// Once the statement has succeeded, the transaction is committed. A further statement fails with 25000. If the
    /// work returns an error then, the helpers report [`Error::AfterCommit`](crate::Error::AfterCommit), and a plain
    /// transaction fails with 2D000. If the connection is lost meanwhile, the outcome is unknown, as after a lost
    /// COMMIT.
    ///
    /// In some cases COMMIT travels alone, as without this call: in a nested transaction, in a transaction for
    /// tests, with [`Transaction::resolve_commit`](crate::Transaction::resolve_commit), with `wire = "observe"`, if
    /// the statement is no query (COPY, DDL), and behind a pooler if the query returns rows. diesel's own
    /// `test_transaction` looks like any other transaction, so there the statement is committed; use
    /// [`Database::test_transaction`](crate::Database::test_transaction) instead.
    fn and_commit(&mut self) -> &mut Self;
}

impl ConnectionExt for AsyncPgConnection {
    fn last_error(&mut self) -> Option<ServerError> {
        Observer::of(self)?.observed().last_error()
    }

    fn pool_cancel_token(&mut self) -> Option<CancelToken> {
        Some(Observer::of(self)?.cancel_token().clone())
    }

    fn after_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        let status = AnsiTransactionManager::transaction_manager_status_mut(self);
        let in_transaction = !matches!(status.transaction_depth(), Ok(None));
        match Observer::of(self) {
            Some(observer) if in_transaction => observer.after_commit(action),
            Some(observer)
                if observer.observed().transaction_status() != TransactionStatus::Idle =>
            {
                tracing::warn!(target: "app_db::transaction", "after_commit in a transaction that was begun with SQL text; dropped");
            }
            None if in_transaction => {
                tracing::warn!(target: "app_db::transaction", "after_commit on a connection that no pool observes; dropped");
            }
            _ => action(),
        }
    }

    fn and_commit(&mut self) -> &mut Self {
        let status = AnsiTransactionManager::transaction_manager_status_mut(self);
        let depth = status.transaction_depth().ok().flatten();
        let is_outermost = depth.is_some_and(|depth| depth.get() == 1);
        // diesel calls a connection in a transaction broken, unless a test has begun that transaction.
        let is_for_a_test = !AnsiTransactionManager::is_broken_transaction_manager(self);
        if is_outermost
            && !is_for_a_test
            && let Some(observer) = Observer::of(self)
        {
            observer.commit_with_next();
        }
        self
    }
}
