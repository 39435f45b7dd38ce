//! A sign of life from the server, which a pool asks for when callers wait in vain.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Whether the server was asked for a sign of life, and when it was if it has not given one.
#[derive(Debug, Default)]
pub(crate) struct SignOfLife(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    unanswered_since: Option<Instant>,
    under_way: bool,
}

impl SignOfLife {
    /// Whether the server was asked for long enough ago and has said nothing since.
    pub(crate) fn is_missing(&self) -> bool {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked
            .unanswered_since
            .is_some_and(|since| since.elapsed() >= LEAST)
    }

    /// Whether this call begins to ask; nobody asks twice at a time.
    pub(crate) fn begin(&self) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = !asked.under_way;
        if begins {
            *asked = Asked {
                unanswered_since: Some(Instant::now()),
                under_way: true,
            };
        }
        begins
    }

    pub(crate) fn ended(&self, answered: bool) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.under_way = false;
        if answered {
            asked.unanswered_since = None;
        }
    }
}

/// Before this has passed nothing is concluded: a busy machine answers late.
pub(crate) const LEAST: Duration = Duration::from_millis(250);
