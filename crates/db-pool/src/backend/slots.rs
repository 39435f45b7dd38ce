//! Slots: how many backends may be alive, from before they are dialled until the server has closed them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The count of the backends of a pool against its size.
#[derive(Debug)]
pub(crate) struct Slots {
    counts: Mutex<Counts>,
    /// A copy of [`Counts::surplus`], so that callers that return a connection need no lock.
    surplus: AtomicU32,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    max: u32,
    /// Backends alive or being made.
    alive: u32,
    /// How many of them are being closed.
    leaving: u32,
    /// How many more than `max` there may be: one while a newer backend is made before the older one that it replaces
    /// ends.
    lent: u32,
}

impl Counts {
    /// How many have to go because the pool has shrunk.
    fn surplus(self) -> u32 {
        (self.alive - self.leaving).saturating_sub(self.max + self.lent)
    }
}

impl Slots {
    pub(crate) fn new(max: u32) -> Arc<Self> {
        Arc::new(Self {
            counts: Mutex::new(Counts {
                max,
                alive: 0,
                leaving: 0,
                lent: 0,
            }),
            surplus: AtomicU32::new(0),
        })
    }

    /// A slot, if fewer than `max` backends are alive. A backend that is being closed counts too.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Slot> {
        self.take_below(|counts| counts.max)
    }

    /// Like [`take`](Self::take), but also uses the lent room.
    pub(crate) fn take_lent(self: &Arc<Self>) -> Option<Slot> {
        self.take_below(|counts| counts.max + counts.lent)
    }

    /// Makes room for one more than `max`, if nobody else has borrowed it.
    pub(crate) fn lend(self: &Arc<Self>) -> Option<Loan> {
        let is_free = self.change(|counts| {
            let is_free = counts.lent == 0;
            counts.lent = 1;
            is_free
        });
        is_free.then(|| Loan(Arc::clone(self)))
    }

    fn take_below(self: &Arc<Self>, bound: impl FnOnce(&Counts) -> u32) -> Option<Slot> {
        let free = self.change(|counts| {
            let free = counts.alive < bound(counts);
            counts.alive += u32::from(free);
            free
        });
        free.then(|| Slot {
            slots: Arc::clone(self),
            leaving: false,
        })
    }

    pub(crate) fn resize(&self, max: u32) {
        self.change(|counts| counts.max = max);
    }

    pub(crate) fn max(&self) -> u32 {
        self.lock().max
    }

    pub(crate) fn alive(&self) -> u32 {
        self.lock().alive
    }

    /// How many backends have to go, in addition to the backends that are already being closed.
    pub(crate) fn surplus(&self) -> u32 {
        self.surplus.load(Ordering::Acquire)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        let mut counts = self.lock();
        let outcome = change(&mut counts);
        self.surplus.store(counts.surplus(), Ordering::Release);
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one more backend than `max`. When it is dropped and no backend has gone by then, one is surplus.
#[derive(Debug)]
pub(crate) struct Loan(Arc<Slots>);

impl Drop for Loan {
    fn drop(&mut self) {
        self.0.change(|counts| counts.lent = 0);
    }
}

/// The slot of one backend. It becomes free when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    leaving: bool,
}

impl Slot {
    /// Notes that its backend is being closed.
    pub(crate) fn leave(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.slots.change(|counts| counts.leaving += 1);
        }
    }

    /// Notes that its backend is being closed, if it is surplus. Returns `true` for exactly as many backends as have
    /// to go.
    pub(crate) fn leave_if_surplus(&mut self) -> bool {
        if self.leaving || self.slots.surplus() == 0 {
            return false;
        }
        self.leaving = self.slots.change(|counts| {
            let too_many = counts.surplus() > 0;
            counts.leaving += u32::from(too_many);
            too_many
        });
        self.leaving
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let leaving = u32::from(self.leaving);
        self.slots.change(|counts| {
            counts.alive -= 1;
            counts.leaving -= leaving;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// case R18: after shrinking, exactly the surplus goes, and no new backend comes before it has gone.
    #[test]
    fn a_smaller_size_sends_away_as_many_as_are_too_many() {
        let slots = Slots::new(5);
        let mut taken: Vec<_> = std::iter::from_fn(|| slots.take()).collect();
        assert_eq!(taken.len(), 5);
        taken[0].leave();
        slots.resize(2);
        assert_eq!(slots.surplus(), 2);
        let going = taken.iter_mut().map(Slot::leave_if_surplus);
        assert_eq!(going.filter(|goes| *goes).count(), 2);
        assert_eq!((slots.alive(), slots.surplus()), (5, 0));
        assert!(slots.take().is_none());
        taken.retain(|slot| !slot.leaving);
        assert_eq!(slots.alive(), 2);
        taken.pop();
        assert!(slots.take().is_some());
        slots.resize(3);
        assert_eq!(slots.alive(), 1);
    }

    /// One backend more than there is room for, and never two, until an older one has left.
    #[test]
    fn room_is_lent_to_one_backend_at_a_time() {
        let slots = Slots::new(2);
        let mut taken: Vec<_> = std::iter::from_fn(|| slots.take()).collect();
        let loan = slots.lend().unwrap();
        assert!(slots.lend().is_none());
        taken.push(slots.take_lent().unwrap());
        assert!(slots.take_lent().is_none() && slots.take().is_none());
        assert_eq!((slots.alive(), slots.surplus()), (3, 0));
        taken[0].leave();
        drop(loan);
        assert_eq!((slots.alive(), slots.surplus()), (3, 0));
        // The next one has to wait until the server has closed the first one.
        let loan = slots.lend().unwrap();
        assert!(slots.take_lent().is_none());
        taken.remove(0);
        taken.push(slots.take_lent().unwrap());
        // No backend has left for it.
        drop(loan);
        assert_eq!(slots.surplus(), 1);
    }
}
