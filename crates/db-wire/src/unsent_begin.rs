//! A BEGIN that the client only announces, and the end of a transaction whose BEGIN was never sent.
//!
//! The wire holds BEGIN back until a statement needs it. A client that sends it nevertheless waits for the task that
//! drives the connection, once for BEGIN and once for COMMIT, and the server hears of neither. Announcing both here
//! costs no such wait.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sql::transactions::Opening;
use crate::transaction_status::TransactionStatus;

/// What the client has announced since its last request.
#[derive(Debug, Default)]
pub(crate) struct UnsentBegin {
    announced: Mutex<Option<Announced>>,
    /// The same as [`NOTHING`], [`BEGINS`] or [`ENDS`], for readers without the lock.
    shown: AtomicU8,
    /// The wire holds the client's BEGIN back.
    held: AtomicBool,
}

/// What the wire learns before the client's next request.
#[derive(Debug)]
pub(crate) enum Announced {
    Begins(Opening),
    Ends,
}

impl UnsentBegin {
    /// The transaction status that the announcement makes. The wire does not know it yet.
    pub(crate) fn status(&self) -> Option<TransactionStatus> {
        match self.shown.load(Ordering::Acquire) {
            BEGINS => Some(TransactionStatus::InTransaction),
            ENDS => Some(TransactionStatus::Idle),
            _ => None,
        }
    }

    pub(crate) fn announce(&self, opening: Opening) {
        let mut announced = self.lock();
        *announced = Some(Announced::Begins(opening));
        self.shown.store(BEGINS, Ordering::Release);
    }

    /// Announces the end, if BEGIN was never sent. `is_settled` says whether the client has all its answers.
    pub(crate) fn end(&self, is_settled: impl FnOnce() -> bool) -> bool {
        let mut announced = self.lock();
        let is_unbegun = match &*announced {
            Some(Announced::Begins(_)) => true,
            Some(Announced::Ends) => false,
            None => self.held.load(Ordering::Acquire) && is_settled(),
        };
        if is_unbegun {
            *announced = Some(Announced::Ends);
            self.shown.store(ENDS, Ordering::Release);
        }
        is_unbegun
    }

    /// Takes out the announcement, once `tell` has told the status that follows from it.
    ///
    /// It holds the lock meanwhile, because a statement of an earlier holder may be closed while the next holder
    /// announces.
    pub(crate) fn take(&self, tell: impl FnOnce(u8)) -> Option<Announced> {
        if self.shown.load(Ordering::Acquire) == NOTHING {
            return None;
        }
        let mut announced = self.lock();
        let taken = announced.take()?;
        tell(match taken {
            Announced::Begins(_) => b'T',
            Announced::Ends => b'I',
        });
        // A reader that finds nothing announced must find the status that was told.
        self.shown.store(NOTHING, Ordering::Release);
        Some(taken)
    }

    /// Notes whether the wire holds the client's BEGIN back.
    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Announced>> {
        self.announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

const NOTHING: u8 = 0;
const BEGINS: u8 = 1;
const ENDS: u8 = 2;
