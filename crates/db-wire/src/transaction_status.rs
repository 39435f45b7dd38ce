//! The server's view of a session's transaction.

/// The server's view of the session's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionStatus {
    /// Not in a transaction block.
    Idle,
    /// In a transaction block.
    InTransaction,
    /// In a failed transaction block: the server refuses everything except ROLLBACK.
    Failed,
    /// The server has not said yet.
    Unknown,
}
