//! The line: those who have passed the gate and have no connection yet, the oldest permit first.
//!
//! Many of them wait at once when connections are being made or closed, and all are woken when one
//! becomes idle. Whoever looked first would have it; the line makes it the one who came first.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::store::Stored;
use crate::pool::Shared;
use crate::registry::Registry;

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

    fn note_length(&self, standing: &BTreeSet<u64>) {
        let length = u32::try_from(standing.len()).unwrap_or(u32::MAX);
        self.length.store(length, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One caller's turn; its drop makes room for those behind it.
pub(crate) struct Turn<'r> {
    registry: &'r Registry,
    number: u64,
    stands: bool,
}

impl<'r> Turn<'r> {
    pub(crate) fn new(registry: &'r Registry, number: u64) -> Self {
        Self {
            registry,
            number,
            stands: false,
        }
    }

    /// Takes the backend that was returned last, if one is there for each older caller too; stands in
    /// line otherwise.
    ///
    /// Whoever calls it has asked to be told of changes before: what happens after the look is not
    /// noticed here.
    pub(crate) fn take(&mut self, shared: &Shared) -> Option<Stored> {
        let line = &self.registry.line;
        // With nobody in line there is nobody to overtake.
        if !self.stands
            && line.is_empty()
            && let Some(stored) = shared.take_idle()
        {
            return Some(stored);
        }
        let mut standing = line.lock();
        let older = standing.range(..self.number).count();
        let taken = match shared.idle() as usize > older {
            true => shared.take_idle(),
            false => None,
        };
        match taken {
            Some(_) => standing.remove(&self.number),
            None => standing.insert(self.number),
        };
        self.stands = taken.is_none();
        line.note_length(&standing);
        taken
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.stands {
            return;
        }
        let line = &self.registry.line;
        let mut standing = line.lock();
        standing.remove(&self.number);
        line.note_length(&standing);
        drop(standing);
        // What was kept for this one is the next one's now.
        self.registry.changes.tell();
    }
}

/// A connection that is being made; its drop says that it is there, or that it will not be.
pub(crate) struct Coming(Arc<Registry>);

impl Coming {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        registry.line.coming.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(registry))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.line.coming.fetch_sub(1, Ordering::AcqRel);
        self.0.changes.tell();
    }
}
