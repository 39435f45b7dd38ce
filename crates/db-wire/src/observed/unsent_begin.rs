//! A BEGIN that the client only announces, and the end of a transaction whose BEGIN was never sent.
//!
//! The wire holds BEGIN back until a statement needs it. A client that sends it nevertheless waits for the task that
//! drives the connection, once for BEGIN and once for COMMIT, and the server hears of neither. Announcing both here
//! costs no such wait.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::{Observed, lock};
use crate::rules::Rules;
use crate::sql::statement_timeout::sets_timeout;
use crate::sql::tokens::Sql;
use crate::sql::transactions::Opening;
use crate::transaction_status::TransactionStatus;

/// What the client has announced since its last request.
#[derive(Debug, Default)]
pub(super) struct UnsentBegin {
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
    pub(super) fn status(&self) -> Option<TransactionStatus> {
        match self.announced.load(Ordering::Acquire) {
            BEGINS => Some(TransactionStatus::InTransaction),
            ENDS => Some(TransactionStatus::Idle),
            _ => None,
        }
    }
}

impl Observed {
    /// Begins a transaction as if the client had sent this BEGIN and the wire had answered it. The client must not
    /// have another request under way.
    ///
    /// Returns `false` if the wire would not hold this BEGIN back. Then the client must send it.
    pub fn begin_with_next(&self, rules: &Rules, sql: &str) -> bool {
        if !rules.holds_begin() || self.transaction_status() != TransactionStatus::Idle {
            return false;
        }
        let text = Sql {
            text: sql.as_bytes(),
            conforming: true,
        };
        let Some(opening) = Opening::parse(text) else {
            return false;
        };
        if sets_timeout(sql.as_bytes()) {
            self.note_own_timeout(sql.as_bytes());
        }
        *lock(&self.unsent_begin.opening) = Some(opening);
        let announced = &self.unsent_begin.announced;
        announced.store(BEGINS, Ordering::Release);
        true
    }

    /// Ends a transaction whose BEGIN was never sent: nothing has run in it, or only queries that ran before BEGIN. The
    /// client must have the answers to all its requests.
    ///
    /// Returns `false` if the server knows the transaction, or if it has failed. Then the client must end it.
    pub fn end_unbegun(&self) -> bool {
        let announced = &self.unsent_begin.announced;
        let is_unbegun = match announced.load(Ordering::Acquire) {
            BEGINS => true,
            ENDS => false,
            _ => self.unsent_begin.held.load(Ordering::Acquire) && !self.is_waiting(),
        };
        if is_unbegun {
            announced.store(ENDS, Ordering::Release);
        }
        is_unbegun
    }

    /// Takes out what the client has announced. From now on the wire itself tells the status.
    pub(crate) fn take_announced(&self) -> Option<Announced> {
        let announced = &self.unsent_begin.announced;
        let step = announced.load(Ordering::Acquire);
        if step == NOTHING {
            return None;
        }
        let opening = lock(&self.unsent_begin.opening).take();
        let (step, status) = match opening.filter(|_| step == BEGINS) {
            Some(opening) => (Announced::Begins(opening), b'T'),
            None => (Announced::Ends, b'I'),
        };
        // A reader that finds nothing announced must find this status.
        self.answered_locally(status);
        announced.store(NOTHING, Ordering::Release);
        Some(step)
    }

    /// Notes whether the wire holds the client's BEGIN back.
    pub(crate) fn begin_is_held(&self, held: bool) {
        self.unsent_begin.held.store(held, Ordering::Release);
    }
}

const NOTHING: u8 = 0;
const BEGINS: u8 = 1;
const ENDS: u8 = 2;
