//! The turns of callers that have passed the gate and have no connection yet, the oldest permit first.
//!
//! Many of these callers may wait at once while connections are made or closed, and all of them wake up
//! when one becomes idle. The turns give it to the caller that came first, whichever task runs first.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whose turn it is, by the numbers of their permits.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    waiting: Mutex<BTreeSet<u64>>,
    /// How many wait. A caller that finds nobody waiting need not take the lock.
    length: AtomicU32,
    /// How many connections are being made.
    being_made: AtomicU32,
}

impl Turns {
    /// Whether more callers wait than connections are being made.
    pub(crate) fn is_short_of_connections(&self) -> bool {
        self.being_made.load(Ordering::Acquire) < self.length.load(Ordering::Acquire)
    }

    /// Whether nobody waits, so that nobody can be overtaken.
    pub(crate) fn is_empty(&self) -> bool {
        self.length.load(Ordering::Acquire) == 0
    }

    /// Tries to take something for the caller with this permit, which otherwise goes on waiting. `take`
    /// gets the number of waiting callers with older permits, and runs under the lock.
    pub(crate) fn take<T>(&self, permit: u64, take: impl FnOnce(usize) -> Option<T>) -> Option<T> {
        let mut waiting = self.lock();
        let taken = take(waiting.range(..permit).count());
        match taken {
            Some(_) => waiting.remove(&permit),
            None => waiting.insert(permit),
        };
        self.note_length(&waiting);
        taken
    }

    /// Notes that the caller with this permit leaves without a connection.
    pub(crate) fn give_up(&self, permit: u64) {
        let mut waiting = self.lock();
        waiting.remove(&permit);
        self.note_length(&waiting);
    }

    /// Notes that a connection is being made from now on.
    pub(crate) fn making_began(&self) {
        self.being_made.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that a connection that was being made exists now, or will not come.
    pub(crate) fn making_ended(&self) {
        self.being_made.fetch_sub(1, Ordering::AcqRel);
    }

    fn note_length(&self, waiting: &BTreeSet<u64>) {
        let length = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        self.length.store(length, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
