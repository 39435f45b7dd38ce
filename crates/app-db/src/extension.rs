//! What a plain `&mut AsyncPgConnection` can be asked inside [`Work`](crate::Work).

use db_pool::ServerError;
use db_pool::plumbing::Observer;
use diesel_async::AsyncPgConnection;

/// Reaches from a pool's connection to what the pool knows of it.
pub trait ConnectionExt {
    /// The last error the server reported on this connection, with its exact SQLSTATE, constraint and
    /// routine, whatever error type the failure has become since.
    ///
    /// `None` when there was none, when the connection is not a pool's, or when the borrower has replaced
    /// its instrumentation.
    fn last_error(&mut self) -> Option<ServerError>;

    /// Leaves something to be done once the transaction around this work is known to be committed.
    ///
    /// For [`Database::write`](crate::Database::write) and [`Transaction`](crate::Transaction): it runs
    /// after their COMMIT was answered, in the order in which it was left, on the task that waits for
    /// them, so it must not block. A panic in it reaches them when all that was left has run. It is dropped
    /// unrun on rollback, retry and [`Error::CommitUnknown`](crate::Error::CommitUnknown), and on a connection
    /// from [`Database::get`](crate::Database::get).
    fn after_commit(&mut self, action: impl FnOnce() + Send + 'static);
}

impl ConnectionExt for AsyncPgConnection {
    fn last_error(&mut self) -> Option<ServerError> {
        Observer::of(self)?.observed().last_error()
    }

    fn after_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        match Observer::of(self) {
            Some(observer) => observer.after_commit(action),
            None => tracing::warn!("after_commit on a connection that no pool observes; dropped"),
        }
    }
}
