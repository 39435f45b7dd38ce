//! The retries of one transaction: whether there is another attempt, and when.

use std::time::Duration;

use db_pool::ServerError;
use tokio::time::Instant;

use crate::error::Error;
use crate::error::exhausted::Exhausted;
use crate::transaction::budget::RetryBudget;
use crate::transaction::retry::Retry;

/// Counts the attempts of one transaction.
#[derive(Debug)]
pub(crate) struct Retries<'b> {
    rules: Retry,
    budget: &'b RetryBudget,
    deadline: Option<Instant>,
    conflicts: u32,
    first: Option<ServerError>,
}

impl<'b> Retries<'b> {
    pub(crate) fn new(rules: Retry, budget: &'b RetryBudget, deadline: Option<Instant>) -> Self {
        budget.pay_in();
        Self {
            rules,
            budget,
            deadline,
            conflicts: 0,
            first: None,
        }
    }

    /// How long to wait before the next attempt, or the error if there must not be one.
    pub(crate) fn after(&mut self, last: ServerError) -> Result<Duration, Error> {
        self.conflicts += 1;
        let first = self.first.get_or_insert_with(|| last.clone()).clone();
        let delay = self.rules.delay(self.conflicts);
        let in_time = |deadline: Instant| Instant::now() + delay < deadline;
        let exhausted = if self.conflicts >= self.rules.attempts {
            Exhausted::Attempts
        } else if !self.deadline.is_none_or(in_time) {
            Exhausted::Time
        } else if !self.budget.take() {
            Exhausted::Budget
        } else {
            self.budget.retried(last.sqlstate());
            return Ok(delay);
        };
        Err(Error::Conflict {
            attempts: self.conflicts,
            first,
            last,
            exhausted,
        })
    }

    /// Notes that the last attempt has committed.
    pub(crate) fn committed(&self) {
        self.budget.committed();
    }
}
