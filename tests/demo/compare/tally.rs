//! What the customers of one side have seen under one fault.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The counts, which all customers share.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) transfers: u64,
    /// How much money the acknowledged transfers moved, according to the answers.
    pub(crate) acknowledged: i64,
    /// Requests that failed, or had no answer at the end.
    pub(crate) errors: u64,
    /// Answers to a different question than the one that was asked.
    pub(crate) wrong: u64,
    pub(crate) worst_wait: Duration,
}

/// A request in progress. Unless it is answered, it counts as an error, with the time until it was given
/// up.
pub(crate) struct Request {
    tally: Tally,
    asked: Instant,
    answered: bool,
}

impl Tally {
    pub(crate) fn counts(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn request(&self) -> Request {
        Request {
            tally: self.clone(),
            asked: Instant::now(),
            answered: false,
        }
    }

    fn note(&self, note: impl FnOnce(&mut Counts)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Request {
    /// It was answered; `amount` is what that has moved.
    pub(crate) fn moved(mut self, amount: i64) {
        self.answered = true;
        self.tally.note(|counts| {
            counts.transfers += 1;
            counts.acknowledged += amount;
        });
    }

    /// It was answered, with what was asked for or not.
    pub(crate) fn read(mut self, is_right: bool) {
        self.answered = true;
        self.tally
            .note(|counts| counts.wrong += u64::from(!is_right));
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let (waited, failed) = (self.asked.elapsed(), !self.answered);
        self.tally.note(|counts| {
            counts.errors += u64::from(failed);
            counts.worst_wait = counts.worst_wait.max(waited);
        });
    }
}

impl Counts {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            transfers: self.transfers + other.transfers,
            acknowledged: self.acknowledged + other.acknowledged,
            errors: self.errors + other.errors,
            wrong: self.wrong + other.wrong,
            worst_wait: self.worst_wait.max(other.worst_wait),
        }
    }
}
