//! A BEGIN that the client only announces, and the end of a transaction whose BEGIN was never sent.
//!
//! The wire holds BEGIN back until a statement needs it. A client that sends it nevertheless waits for the task that
//! drives the connection, once for BEGIN and once for COMMIT, and the server hears of neither. Announcing both here
//! costs no such wait.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::sql::transactions::Opening;
use crate::transaction_status::TransactionStatus;

/// What the client has announced since its last request.
#[derive(Debug, Default)]
pub(crate) struct UnsentBegin {
    /// [`NOTHING`], [`BEGINS`] or [`ENDS`].
    announced: AtomicU8,
    opening: Mutex<Option<Opening>>,
    /// The wire holds the client's BEGIN back.
    held: AtomicBool,
}

/// What the wire learns before the client's next request.
pub(crate) enum Announced {
    Begins(Opening),
    Ends,
}

impl UnsentBegin {
    /// The transaction status that the announcement makes. The wire does not know it yet.
    pub(crate) fn status(&self) -> Option<TransactionStatus> {
        match self.announced.load(Ordering::Acquire) {
            BEGINS => Some(TransactionStatus::InTransaction),
            ENDS => Some(TransactionStatus::Idle),
            _ => None,
        }
    }

    pub(crate) fn announce(&self, opening: Opening) {
        *self.lock() = Some(opening);
        self.announced.store(BEGINS, Ordering::Release);
    }

    /// Announces the end, if BEGIN was never sent. `is_settled` says whether the client has all its answers.
    pub(crate) fn end(&self, is_settled: impl FnOnce() -> bool) -> bool {
        let is_unbegun = match self.announced.load(Ordering::Acquire) {
            BEGINS => true,
            ENDS => false,
            _ => self.held.load(Ordering::Acquire) && is_settled(),
        };
        if is_unbegun {
            self.announced.store(ENDS, Ordering::Release);
        }
        is_unbegun
    }

    /// What is announced. It stays announced until [`UnsentBegin::forget`].
    pub(crate) fn heard(&self) -> Option<Announced> {
        match self.announced.load(Ordering::Acquire) {
            BEGINS => self.lock().take().map(Announced::Begins),
            ENDS => Some(Announced::Ends),
            _ => None,
        }
    }

    pub(crate) fn forget(&self) {
        self.announced.store(NOTHING, Ordering::Release);
    }

    /// Notes whether the wire holds the client's BEGIN back.
    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Opening>> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NOTHING: u8 = 0;
const BEGINS: u8 = 1;
const ENDS: u8 = 2;
