//! The line: those who have passed the gate and have no connection yet, the oldest permit first.
//!
//! Many of them wait at once when connections are being made or closed, and all are woken when one
//! becomes idle. Whoever looked first would have it; the line makes it the one who came first.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whose turn it is, by the numbers of their permits.
#[derive(Debug, Default)]
pub(crate) struct Line {
    standing: Mutex<BTreeSet<u64>>,
    /// The length of the line, for those who find nobody in it and would rather not lock.
    length: AtomicU32,
    /// How many connections are being made.
    coming: AtomicU32,
}

impl Line {
    /// Whether more callers stand in it than connections are being made.
    pub(crate) fn is_short_of_connections(&self) -> bool {
        self.coming.load(Ordering::Acquire) < self.length.load(Ordering::Acquire)
    }

    /// Whether nobody stands in it, so that nobody can be overtaken.
    pub(crate) fn is_empty(&self) -> bool {
        self.length.load(Ordering::Acquire) == 0
    }

    /// Takes something for the caller with this permit, who leaves the line with it; without it the caller
    /// stands in line. `take` is told how many stand there with older permits, and runs under the lock.
    pub(crate) fn take<T>(&self, permit: u64, take: impl FnOnce(usize) -> Option<T>) -> Option<T> {
        let mut standing = self.lock();
        let taken = take(standing.range(..permit).count());
        match taken {
            Some(_) => standing.remove(&permit),
            None => standing.insert(permit),
        };
        self.note_length(&standing);
        taken
    }

    /// The caller with this permit leaves the line without anything.
    pub(crate) fn leave(&self, permit: u64) {
        let mut standing = self.lock();
        standing.remove(&permit);
        self.note_length(&standing);
    }

    /// One more connection is being made.
    pub(crate) fn one_is_coming(&self) {
        self.coming.fetch_add(1, Ordering::AcqRel);
    }

    /// A connection that was being made is there, or will not be.
    pub(crate) fn one_has_come(&self) {
        self.coming.fetch_sub(1, Ordering::AcqRel);
    }

    fn note_length(&self, standing: &BTreeSet<u64>) {
        let length = u32::try_from(standing.len()).unwrap_or(u32::MAX);
        self.length.store(length, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
