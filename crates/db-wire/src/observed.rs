//! What the wire knows of a connection, read by the pool and by callers without a lock.

mod errors;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::last_statement::LastStatement;
use crate::parameters::Parameters;
use crate::request::Request;
use crate::server_error::ServerError;
use crate::sql::residue::Residue;
use crate::sql::statement_timeout::timeout_of;
use crate::transaction_status::TransactionStatus;
use crate::unresolved::Unresolved;

/// The facts that the wire gathers about one connection.
///
/// Written by the stream as bytes pass, read by anybody who holds the connection; everything on the
/// path of a statement is an atomic, but for its text. Errors and parameters are rare and lie behind a
/// mutex.
#[derive(Debug, Default)]
pub struct Observed {
    status: AtomicU8,
    working: AtomicU32,
    unanswered: AtomicU32,
    /// The longest time in milliseconds that a text has given to statements since that was forgotten; 0 for none.
    own_timeout: AtomicU64,
    committing: AtomicU32,
    statements: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    errors: AtomicU64,
    stale: AtomicU64,
    refused_commits: AtomicU64,
    early_commits: AtomicU64,
    boundaries: AtomicU64,
    spoilt: AtomicBool,
    outdated: AtomicBool,
    last_error: Mutex<Option<ServerError>>,
    last_statement: LastStatement,
    /// How many errors there were when the last one was forgotten.
    forgotten: AtomicU64,
    /// A [`Residue`] as a number.
    residue: AtomicU8,
    unresolved: Mutex<Option<Unresolved>>,
    /// What `unresolved` held last.
    resolved: Mutex<Option<Unresolved>>,
    backend_pid: AtomicI32,
    logged_in: OnceLock<Instant>,
    parameters: Parameters,
    closed: AtomicBool,
    /// Whether the settings of the pool are not in force for the statement that was sent last.
    unbounded: AtomicBool,
    /// Whether `unresolved` holds something.
    failing: AtomicBool,
    settled: Notify,
}

impl Observed {
    /// The server's own transaction status, as its last ReadyForQuery said.
    #[must_use]
    pub fn transaction_status(&self) -> TransactionStatus {
        match self.status.load(Ordering::Acquire) {
            b'I' => TransactionStatus::Idle,
            b'T' => TransactionStatus::InTransaction,
            b'E' => TransactionStatus::Failed,
            _ => TransactionStatus::Unknown,
        }
    }

    /// Whether a request that runs something is still unanswered.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.working.load(Ordering::Acquire) > 0
    }

    /// Whether anything that was sent is still unanswered, if only a text to be prepared.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.unanswered.load(Ordering::Acquire) > 0
    }

    /// A text that is sent now sets the time that statements have.
    pub(crate) fn note_own_timeout(&self, text: &[u8]) {
        self.own_timeout
            .fetch_max(timeout_of(text), Ordering::AcqRel);
    }

    /// The longest time that a text has given to statements since that was forgotten; `Some(None)` where one has
    /// taken the bound away, or cannot be understood.
    #[must_use]
    pub fn own_timeout(&self) -> Option<Option<Duration>> {
        match self.own_timeout.load(Ordering::Acquire) {
            0 => None,
            u64::MAX => Some(None),
            milliseconds => Some(Some(Duration::from_millis(milliseconds))),
        }
    }

    /// The session has the pool's own times again.
    pub fn forget_own_timeout(&self) {
        self.own_timeout.store(0, Ordering::Release);
    }

    /// Whether a COMMIT has been sent whose answer is still missing.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.committing.load(Ordering::Acquire) > 0
    }

    /// Whether the connection is closed, by whichever side.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether a statement is at work that the server does not bound by the pool's `statement_timeout`: outside a
    /// transaction, on a session that is shared with others.
    #[must_use]
    pub fn is_working_unbounded(&self) -> bool {
        self.unbounded.load(Ordering::Acquire) && self.is_working()
    }

    pub(crate) fn note_unbounded(&self, unbounded: bool) {
        self.unbounded.store(unbounded, Ordering::Release);
    }

    /// How many statements the server has completed on this connection.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// How many bytes of the protocol have gone to the server since login began, login included.
    ///
    /// They are counted above TLS, as the transport takes them: what the wire answers itself is not
    /// among them, and what it adds is.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }

    /// How many bytes of the protocol have come from the server since login began, counted likewise.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.bytes_received.load(Ordering::Relaxed)
    }

    /// The last error the server reported since the connection was handed out, whatever became of it.
    #[must_use]
    pub fn last_error(&self) -> Option<ServerError> {
        lock(&self.last_error).clone()
    }

    /// What the transaction has failed with, as long as nobody has rolled it back, to a savepoint or wholly;
    /// of several errors the first, which made it fail.
    #[must_use]
    pub fn unresolved(&self) -> Option<Unresolved> {
        lock(&self.unresolved).clone()
    }

    /// What the transaction has failed with before it was rolled back, to a savepoint or wholly.
    #[must_use]
    pub fn resolved(&self) -> Option<Unresolved> {
        lock(&self.resolved).clone()
    }

    /// The process id that the server, or the pooler in its place, gave at connect.
    #[must_use]
    pub fn backend_pid(&self) -> i32 {
        self.backend_pid.load(Ordering::Relaxed)
    }

    /// A parameter the server has reported, such as `server_version` or `in_hot_standby`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters.value(name)
    }

    /// Remembers the parameters that clients set, as they are now; the first call counts.
    pub fn remember_parameters(&self) {
        self.parameters.remember();
    }

    /// The parameters that differ from what they were when they were remembered, with their values then.
    ///
    /// One atomic is read while none does.
    #[must_use]
    pub fn changed_parameters(&self) -> Vec<(String, String)> {
        self.parameters.changed()
    }

    /// Resolves once nothing is being worked on, or the connection is closed.
    pub async fn settled(&self) {
        loop {
            let changed = self.settled.notified();
            if !self.is_working() || self.is_closed() {
                return;
            }
            changed.await;
        }
    }

    /// The beginning of the statement that was sent last: of several in a pipeline, the last of them.
    pub fn last_statement(&self) -> &LastStatement {
        &self.last_statement
    }

    pub(crate) fn request_sent(&self, request: Request) {
        self.unanswered.fetch_add(1, Ordering::AcqRel);
        if request.works() {
            self.working.fetch_add(1, Ordering::AcqRel);
        }
        if request == Request::Commit {
            self.committing.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// `told` is the status that the client was told with it, if it was told at all.
    pub(crate) fn request_answered(&self, request: Request, told: Option<u8>) {
        if let Some(status) = told {
            self.status_told(status);
        }
        self.unanswered.fetch_sub(1, Ordering::AcqRel);
        if request == Request::Commit {
            self.committing.fetch_sub(1, Ordering::AcqRel);
        }
        if request.works() && self.working.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_waiters();
        }
    }

    /// The client was told this status by the wire itself.
    pub(crate) fn answered_locally(&self, status: u8) {
        self.status_told(status);
    }

    fn status_told(&self, status: u8) {
        // A caller that is told of a sound transaction, or of none, has nothing left to resolve. The lock is
        // taken once for each failure and not for each statement.
        if status != b'E' && self.failing.swap(false, Ordering::AcqRel) {
            let resolved = lock(&self.unresolved).take();
            *lock(&self.resolved) = resolved;
        }
        self.status.store(status, Ordering::Release);
    }

    /// The connection is not what its client has been told it is: it must not be used again.
    pub(crate) fn spoil(&self) {
        self.spoilt.store(true, Ordering::Release);
    }

    /// The connection's client holds something of it that is wrong for ever: it must be replaced.
    pub(crate) fn outdate(&self) {
        self.outdated.store(true, Ordering::Release);
    }

    /// Whether its client holds something of it that is wrong for ever, as a description of rows that are others now.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }

    /// Whether it must not be used again.
    pub fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Acquire)
    }

    /// The server found a prepared statement out of date, or did not know it.
    pub(crate) fn stale_statement_reported(&self, error: ServerError) {
        self.stale.fetch_add(1, Ordering::AcqRel);
        self.note_error(Unresolved { error, stale: true });
    }

    /// How often a prepared statement was out of date: work that met it may be tried again.
    #[must_use]
    pub fn stale_statements(&self) -> u64 {
        self.stale.load(Ordering::Acquire)
    }

    /// A transaction began or ended, by a command of the client's own.
    pub(crate) fn boundary_crossed(&self) {
        self.boundaries.fetch_add(1, Ordering::AcqRel);
    }

    /// How many commands have begun or ended a transaction; the BEGIN that the wire sends with another
    /// statement is not among them.
    #[must_use]
    pub fn boundaries(&self) -> u64 {
        self.boundaries.load(Ordering::Acquire)
    }

    /// The server answered ROLLBACK to a COMMIT.
    pub(crate) fn commit_was_refused(&self) {
        self.refused_commits.fetch_add(1, Ordering::AcqRel);
    }

    /// How often the server answered ROLLBACK to a COMMIT, which is no error to anybody but its client.
    #[must_use]
    pub fn refused_commits(&self) -> u64 {
        self.refused_commits.load(Ordering::Acquire)
    }

    /// COMMIT, which travelled with the last statement, was answered.
    pub(crate) fn commit_came_early(&self) {
        self.early_commits.fetch_add(1, Ordering::AcqRel);
    }

    /// How many transactions were committed with their last statement; see
    /// [`Steering::commit_with_next`](crate::Steering::commit_with_next).
    #[must_use]
    pub fn early_commits(&self) -> u64 {
        self.early_commits.load(Ordering::Acquire)
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes_received
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn statement_completed(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn error_reported(&self, error: ServerError) {
        let stale = false;
        self.note_error(Unresolved { error, stale });
    }

    fn note_error(&self, failure: Unresolved) {
        *lock(&self.last_error) = Some(failure.error.clone());
        lock(&self.unresolved).get_or_insert(failure);
        self.failing.store(true, Ordering::Release);
        self.errors.fetch_add(1, Ordering::AcqRel);
    }

    /// Something was sent that may leave this behind in the session.
    pub(crate) fn left_behind(&self, residue: Residue) {
        if residue > Residue::Nothing {
            self.residue.fetch_max(residue as u8, Ordering::AcqRel);
        }
    }

    /// What may have been left behind in the session since it was clean.
    pub fn residue(&self) -> Residue {
        match self.residue.load(Ordering::Acquire) {
            0 => Residue::Nothing,
            1 => Residue::Undoable,
            _ => Residue::Lasting,
        }
    }

    /// The session is what it was after login.
    pub fn session_is_clean(&self) {
        self.residue
            .store(Residue::Nothing as u8, Ordering::Release);
    }

    pub(crate) fn parameter_reported(&self, name: &str, value: &str) {
        self.parameters.report(name, value);
    }

    /// When the server, or the pooler in its place, let us in.
    pub fn logged_in(&self) -> Option<Instant> {
        self.logged_in.get().copied()
    }

    pub(crate) fn backend_named(&self, pid: i32) {
        let _first = self.logged_in.set(Instant::now());
        self.backend_pid.store(pid, Ordering::Relaxed);
    }

    pub(crate) fn connection_closed(&self) {
        self.closed.store(true, Ordering::Release);
        self.settled.notify_waiters();
    }
}

// A panic while one of these is held leaves a plain value behind, never a half-made one.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
