//! When a pool may try to connect, how often at a time, and for how long it goes on believing in it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::connect::breaker::Breaker;
use crate::connect::connect_error::ConnectError;
use crate::profile::Reconnect;

/// A pool's memory of its attempts to connect.
#[derive(Debug)]
pub(crate) struct Backoff {
    pool: Arc<str>,
    rules: Reconnect,
    /// What every decision is made by; nothing is awaited nor logged under the lock.
    attempts: Mutex<Attempts>,
}

#[derive(Debug)]
struct Attempts {
    breaker: Breaker,
    in_flight: u32,
    /// How many may be in flight of a server that is to be treated with care: one at the start and after
    /// each failure, and one more with each success.
    at_once: u32,
    /// Whether the server has failed once, so that callers are to take that care too.
    has_failed: bool,
    /// How many connections were lost so far.
    lost: u64,
    failures: Option<Failures>,
}

/// The failures since the last success.
#[derive(Debug)]
struct Failures {
    in_a_row: u32,
    last: ConnectError,
    failed_at: Instant,
    /// When somebody may try who waits, and when the keeper may whom nobody urges.
    caller_from: Instant,
    keeper_from: Instant,
}

/// On whose behalf an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urge {
    /// Somebody waits for a connection.
    Caller,
    /// The keeper wants one ready.
    Keeper,
}

/// Why no attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotNow {
    /// A delay runs.
    Until(Instant),
    /// There is no room for another connection, or enough attempts are in flight already: whatever
    /// changes that is announced to the callers who wait.
    UntilChange,
}

impl NotNow {
    /// When to ask again, if nothing changes before.
    pub(crate) fn until(self) -> Option<Instant> {
        match self {
            Self::Until(at) => Some(at),
            Self::UntilChange => None,
        }
    }
}

impl Backoff {
    pub(crate) fn new(pool: Arc<str>, rules: Reconnect) -> Self {
        let attempts = Mutex::new(Attempts {
            breaker: Breaker::Closed,
            in_flight: 0,
            at_once: 1,
            has_failed: false,
            lost: 0,
            failures: None,
        });
        Self {
            pool,
            rules,
            attempts,
        }
    }

    /// Begins an attempt, if there is a slot for what it makes.
    ///
    /// While somebody waits, the next attempt begins within the base delay after the last failure,
    /// whatever the number of failures: a server that has come back is found within that time. With
    /// nobody waiting the delay doubles with every failure in a row.
    ///
    /// The slot is taken under the lock, so that nobody finds none for the moment in which another one
    /// holds it in vain.
    pub(crate) fn begin<S>(
        self: &Arc<Self>,
        urge: Urge,
        slot: impl FnOnce() -> Option<S>,
    ) -> Result<(ConnectAttempt, S), NotNow> {
        let mut attempts = self.lock();
        if attempts.in_flight >= attempts.most_for(urge) {
            return Err(NotNow::UntilChange);
        }
        let began = Instant::now();
        if let Some(from) = attempts.delayed_until(urge)
            && from > began
        {
            return Err(NotNow::Until(from));
        }
        let slot = slot().ok_or(NotNow::UntilChange)?;
        attempts.in_flight += 1;
        let next = attempts.breaker.tried();
        self.turn(attempts, next);
        let attempt = ConnectAttempt {
            backoff: Arc::clone(self),
            began,
        };
        Ok((attempt, slot))
    }

    /// Why a caller need not wait: waiting does not heal the last failure, or the breaker is not closed.
    ///
    /// Asked by a caller that may not begin an attempt, and of no matter while a connection lives.
    pub(crate) fn refusal(&self) -> Option<ConnectError> {
        let attempts = self.lock();
        let failures = attempts.failures.as_ref()?;
        let broken = attempts.breaker != Breaker::Closed;
        let final_for_now = failures.last.is_permanent() && failures.caller_from > Instant::now();
        (broken || final_for_now).then(|| failures.last.clone())
    }

    /// So many connections were ended by the server, or it did not answer on them. Where they have become
    /// more, many may be about to be made anew, so that logins begin again with one at once.
    pub(crate) fn lost(&self, connections: u64) {
        let mut attempts = self.lock();
        if connections > attempts.lost {
            attempts.lost = connections;
            (attempts.at_once, attempts.has_failed) = (1, true);
        }
    }

    /// Forgets all failures: the credentials that failed have been replaced by proven ones.
    pub(crate) fn forget(&self) {
        let mut attempts = self.lock();
        attempts.has_failed = false;
        attempts.failures = None;
        self.turn(attempts, Breaker::Closed);
    }

    /// The last failure since the last success.
    pub(crate) fn last_failure(&self) -> Option<ConnectError> {
        let attempts = self.lock();
        attempts.failures.as_ref().map(|f| f.last.clone())
    }

    pub(crate) fn breaker(&self) -> Breaker {
        self.lock().breaker
    }

    fn succeeded(&self) {
        let mut attempts = self.lock();
        attempts.at_once = (attempts.at_once + 1).min(MOST_AT_ONCE);
        attempts.failures = None;
        self.turn(attempts, Breaker::Closed);
    }

    fn failed(&self, began: Instant, error: ConnectError) {
        let mut attempts = self.lock();
        (attempts.at_once, attempts.has_failed) = (1, true);
        if let Some(failures) = &mut attempts.failures
            && began <= failures.failed_at
        {
            // Of many attempts at once the first to fail has counted for all. None begins at the moment of a
            // failure: there is a delay behind it.
            failures.last = error;
            return;
        }
        let in_a_row = attempts.failures.as_ref().map_or(0, |f| f.in_a_row);
        let in_a_row = in_a_row.saturating_add(1);
        let now = Instant::now();
        attempts.failures = Some(Failures {
            in_a_row,
            last: error,
            failed_at: now,
            caller_from: now + jittered(self.rules.base_delay),
            keeper_from: now + jittered(self.growing(in_a_row)),
        });
        let next = attempts.breaker.failed(in_a_row, self.rules.attempts);
        self.turn(attempts, next);
    }

    /// `base × 2^(n−1)` up to the maximum.
    fn growing(&self, in_a_row: u32) -> Duration {
        let doublings = in_a_row.saturating_sub(1).min(31);
        let full = self.rules.base_delay.saturating_mul(1 << doublings);
        full.min(self.rules.max_delay)
    }

    /// Sets the breaker, and says so where that is a change; the one place that does.
    fn turn(&self, mut attempts: MutexGuard<'_, Attempts>, next: Breaker) {
        let before = std::mem::replace(&mut attempts.breaker, next);
        let failures = attempts.failures.as_ref();
        let (in_a_row, cause) = failures
            .map(|f| (f.in_a_row, f.last.to_string()))
            .filter(|_| before != next)
            .unwrap_or_default();
        drop(attempts);
        let pool = &*self.pool;
        match (before, next) {
            (Breaker::Closed, Breaker::Open) => tracing::warn!(target: "app_db::pool",
                pool,
                in_a_row,
                cause,
                "the breaker opens: connecting has failed too often"
            ),
            (Breaker::Open, Breaker::HalfOpen) => {
                tracing::debug!(target: "app_db::pool", pool, "the breaker is half open: one attempt goes ahead");
            }
            (Breaker::HalfOpen, Breaker::Open) => {
                tracing::debug!(target: "app_db::pool", pool, in_a_row, cause, "the breaker stays open");
            }
            (before, next) if before != next => {
                tracing::info!(target: "app_db::pool", pool, "the breaker closes: the server is connected to again");
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempts {
    /// The keeper begins with one even where nothing has failed: nobody waits for it, and wrong credentials
    /// are to be tried once and not once for each connection that it wants.
    fn most_for(&self, urge: Urge) -> u32 {
        match urge {
            Urge::Caller if !self.has_failed => MOST_AT_ONCE,
            _ => self.at_once,
        }
    }

    fn delayed_until(&self, urge: Urge) -> Option<Instant> {
        let failures = self.failures.as_ref()?;
        Some(match urge {
            Urge::Caller => failures.caller_from,
            Urge::Keeper => failures.keeper_from,
        })
    }
}

/// One attempt in flight; one that is dropped without an outcome has told nothing of the server.
#[derive(Debug)]
#[must_use = "an attempt that is dropped is over"]
pub(crate) struct ConnectAttempt {
    backoff: Arc<Backoff>,
    began: Instant,
}

impl ConnectAttempt {
    pub(crate) fn succeeded(self) {
        self.backoff.succeeded();
    }

    pub(crate) fn failed(self, error: ConnectError) {
        self.backoff.failed(self.began, error);
    }
}

impl Drop for ConnectAttempt {
    fn drop(&mut self) {
        let mut attempts = self.backoff.lock();
        attempts.in_flight -= 1;
        let next = attempts.breaker.untold();
        self.backoff.turn(attempts, next);
    }
}

/// The upper half at random, so that the instances of a service do not come all at once.
fn jittered(full: Duration) -> Duration {
    full.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// How many logins of a pool are in flight at most: the server serves the logins of all pools.
const MOST_AT_ONCE: u32 = 8;

#[cfg(test)]
mod tests;
