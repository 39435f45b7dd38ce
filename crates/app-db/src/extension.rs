//! What work can ask of its plain `&mut AsyncPgConnection`; see [`Work`](crate::Work).

use db_pool::plumbing::Observer;
use db_pool::{CancelToken, ServerError};
use diesel_async::AsyncPgConnection;

/// Gives a plain connection access to what its pool knows about it.
pub trait ConnectionExt {
    /// The last error that the server reported on this connection, with its exact SQLSTATE, constraint
    /// and routine. It does not matter which error type the failure has become since.
    ///
    /// `None` if there was no error, if the connection belongs to no pool, or if the caller has
    /// replaced its instrumentation.
    fn last_error(&mut self) -> Option<ServerError>;

    /// A token with which anybody can cancel what this connection is doing, while this work waits for it.
    ///
    /// The token of `AsyncPgConnection::cancel_token` cancels over TLS alone: it knows neither Unix sockets nor
    /// connections without TLS. `None` if the connection belongs to no pool, or if the caller has replaced its
    /// instrumentation.
    fn pool_cancel_token(&mut self) -> Option<CancelToken>;

    /// Leaves an action that runs once the transaction around this work is known to be committed.
    ///
    /// It works inside [`Database::write`](crate::Database::write) and
    /// [`Transaction`](crate::Transaction). They run the actions after the server has answered COMMIT,
    /// in the order in which the work left them, on the task that awaits the transaction. So an action
    /// must not block. If an action panics, the others run first and then the panic goes on.
    ///
    /// An action is dropped without running after a rollback, a retry or
    /// [`Error::CommitUnknown`](crate::Error::CommitUnknown), and on a connection from
    /// [`Database::get`](crate::Database::get).
    fn after_commit(&mut self, action: impl FnOnce() + Send + 'static);
}

impl ConnectionExt for AsyncPgConnection {
    fn last_error(&mut self) -> Option<ServerError> {
        Observer::of(self)?.observed().last_error()
    }

    fn pool_cancel_token(&mut self) -> Option<CancelToken> {
        Some(Observer::of(self)?.cancel_token().clone())
    }

    fn after_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        match Observer::of(self) {
            Some(observer) => observer.after_commit(action),
            None => {
                tracing::warn!(target: "app_db::transaction", "after_commit on a connection that no pool observes; dropped");
            }
        }
    }
}
