//! What the wire knows about a connection. The pool and callers read it without a lock.

mod announcements;
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
use crate::unsent_begin::UnsentBegin;

/// The facts that the wire gathers about one connection.
///
/// The stream writes them as bytes pass, and everybody who holds the connection can read them. What each statement
/// changes is atomic, except its text. Errors and parameters are rare, and lie behind a mutex.
#[derive(Debug, Default)]
pub struct Observed {
    status: AtomicU8,
    working: AtomicU32,
    unanswered: AtomicU32,
    /// The longest statement timeout in milliseconds that a text has set since it was last forgotten; 0 for none.
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
    /// The number of errors at the time when the last one was forgotten.
    forgotten: AtomicU64,
    /// A [`Residue`] as a number.
    residue: AtomicU8,
    unresolved: Mutex<Option<Unresolved>>,
    /// The last value that `unresolved` had.
    resolved: Mutex<Option<Unresolved>>,
    backend_pid: AtomicI32,
    logged_in: OnceLock<Instant>,
    parameters: Parameters,
    closed: AtomicBool,
    /// Whether the last statement was sent without the pool's settings.
    unbounded: AtomicBool,
    /// Whether `unresolved` has a value.
    failing: AtomicBool,
    settled: Notify,
    unsent_begin: UnsentBegin,
}

impl Observed {
    /// The transaction status that the client was told last, or has announced since.
    #[must_use]
    pub fn transaction_status(&self) -> TransactionStatus {
        if let Some(announced) = self.unsent_begin.status() {
            return announced;
        }
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

    /// Whether any request is still unanswered, even if it only prepares a text.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.unanswered.load(Ordering::Acquire) > 0
    }

    /// Notes that a text that is sent now sets the statement timeout.
    pub(crate) fn note_own_timeout(&self, text: &[u8]) {
        self.own_timeout
            .fetch_max(timeout_of(text), Ordering::AcqRel);
    }

    /// The longest statement timeout that a text has set since it was last forgotten. `Some(None)` means that a text
    /// has removed the bound, or that the wire cannot understand the text.
    #[must_use]
    pub fn own_timeout(&self) -> Option<Option<Duration>> {
        match self.own_timeout.load(Ordering::Acquire) {
            0 => None,
            u64::MAX => Some(None),
            milliseconds => Some(Some(Duration::from_millis(milliseconds))),
        }
    }

    /// Notes that the session has the pool's own timeouts again.
    pub fn forget_own_timeout(&self) {
        self.own_timeout.store(0, Ordering::Release);
    }

    /// Whether a COMMIT has been sent and not been answered yet.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.committing.load(Ordering::Acquire) > 0
    }

    /// Whether either side has closed the connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether a statement is running that the pool's `statement_timeout` does not bound on the server: a statement
    /// outside a transaction, on a session that other clients share.
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
    /// They are counted above TLS, as the transport takes them. So requests that the wire answers itself do not
    /// count, and bytes that it adds do.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }

    /// How many bytes of the protocol have come from the server since login began, counted in the same way.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.bytes_received.load(Ordering::Relaxed)
    }

    /// The process id that the server, or the pooler in its place, gave at connect.
    #[must_use]
    pub fn backend_pid(&self) -> i32 {
        self.backend_pid.load(Ordering::Relaxed)
    }

    /// A parameter that the server has reported, such as `server_version` or `in_hot_standby`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters.value(name)
    }

    /// Remembers the parameters that clients set, with their present values. Only the first call has an effect.
    pub fn remember_parameters(&self) {
        self.parameters.remember();
    }

    /// The parameters whose values differ from the remembered ones, with the remembered values.
    ///
    /// It reads only one atomic if none differs.
    #[must_use]
    pub fn changed_parameters(&self) -> Vec<(String, String)> {
        self.parameters.changed()
    }

    /// Resolves once the server works on nothing, or the connection is closed.
    pub async fn settled(&self) {
        loop {
            let changed = self.settled.notified();
            if !self.is_working() || self.is_closed() {
                return;
            }
            changed.await;
        }
    }

    /// The beginning of the statement that was sent last. In a pipeline it is the last of the pipeline.
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

    /// `told` is the status that the client was told with the answer, if it was told the answer at all.
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

    /// The wire itself has told the client this status.
    pub(crate) fn answered_locally(&self, status: u8) {
        self.status_told(status);
    }

    fn status_told(&self, status: u8) {
        // A caller that is told of a healthy transaction, or of no transaction, has nothing left to resolve. The lock
        // is taken once for each failure and not for each statement.
        if status != b'E' && self.failing.swap(false, Ordering::AcqRel) {
            let resolved = lock(&self.unresolved).take();
            *lock(&self.resolved) = resolved;
        }
        self.status.store(status, Ordering::Release);
    }

    /// Notes that the client was told something untrue about the connection, so that it must not be used again.
    pub(crate) fn spoil(&self) {
        self.spoilt.store(true, Ordering::Release);
    }

    /// Notes that the client has stored something about the connection that stays wrong, so that the connection must
    /// be replaced.
    pub(crate) fn outdate(&self) {
        self.outdated.store(true, Ordering::Release);
    }

    /// Whether the client has stored something about the connection that stays wrong, for example an old description
    /// of rows.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }

    /// Whether it must not be used again.
    pub fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Acquire)
    }

    /// Notes that the server found a prepared statement outdated, or did not know it.
    pub(crate) fn stale_statement_reported(&self, error: ServerError) {
        self.stale.fetch_add(1, Ordering::AcqRel);
        self.note_error(Unresolved { error, stale: true });
    }

    /// How often a prepared statement was outdated. Work that failed because of it may be retried.
    #[must_use]
    pub fn stale_statements(&self) -> u64 {
        self.stale.load(Ordering::Acquire)
    }

    /// Notes that a command of the client began or ended a transaction.
    pub(crate) fn boundary_crossed(&self) {
        self.boundaries.fetch_add(1, Ordering::AcqRel);
    }

    /// How many commands have begun or ended a transaction. The BEGIN that the wire sends with another statement does
    /// not count.
    #[must_use]
    pub fn boundaries(&self) -> u64 {
        self.boundaries.load(Ordering::Acquire)
    }

    /// Notes that the server answered ROLLBACK to a COMMIT.
    pub(crate) fn commit_was_refused(&self) {
        self.refused_commits.fetch_add(1, Ordering::AcqRel);
    }

    /// How often the server answered ROLLBACK to a COMMIT. Only the client sees that as an error.
    #[must_use]
    pub fn refused_commits(&self) -> u64 {
        self.refused_commits.load(Ordering::Acquire)
    }

    /// Notes that a COMMIT that travelled with the last statement was answered.
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

    /// Notes that a request was sent that may leave this behind in the session.
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

    /// Notes that the session is in the state that it had after login.
    pub fn session_is_clean(&self) {
        self.residue
            .store(Residue::Nothing as u8, Ordering::Release);
    }

    pub(crate) fn parameter_reported(&self, name: &str, value: &str) {
        self.parameters.report(name, value);
    }

    /// When the server, or the pooler in its place, accepted the login.
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

// A panic while one of these locks is held leaves a complete value behind.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
