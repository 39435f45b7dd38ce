//! A sign of life from the server. The pool asks for one when callers wait in vain.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When the pool asked the server for a sign of life, while the server has not answered.
#[derive(Debug, Default)]
pub(crate) struct SignOfLife(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    unanswered_since: Option<Instant>,
    under_way: bool,
}

impl SignOfLife {
    /// Whether the pool asked long enough ago and the server has not answered.
    pub(crate) fn is_missing(&self) -> bool {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked
            .unanswered_since
            .is_some_and(|since| since.elapsed() >= LEAST)
    }

    /// Whether the caller of this should ask now. Only one question runs at a time.
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

/// The pool draws no conclusion before this time has passed, because a busy machine answers late.
pub(crate) const LEAST: Duration = Duration::from_millis(250);
