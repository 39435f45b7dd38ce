//! When a pool may try to connect, how many attempts may run at the same time, and after how many failures
//! its breaker opens.

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
    /// The facts behind every decision. Code under the lock neither awaits nor logs.
    attempts: Mutex<Attempts>,
}

#[derive(Debug)]
struct Attempts {
    breaker: Breaker,
    in_flight: u32,
    /// How many attempts may be in flight to a server that needs care: one at the start and after each
    /// failure, and one more with each success.
    at_once: u32,
    /// Whether the server has failed once, so that attempts for callers also need that care.
    has_failed: bool,
    /// How many connections have been lost so far.
    lost: u64,
    failures: Option<Failures>,
}

/// The failures since the last success.
#[derive(Debug)]
struct Failures {
    in_a_row: u32,
    last: ConnectError,
    failed_at: Instant,
    /// When a waiting caller may try, and when the keeper may. Nobody waits for the keeper's attempts.
    caller_from: Instant,
    keeper_from: Instant,
}

/// For whom an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urge {
    /// Somebody waits for a connection.
    Caller,
    /// The keeper wants an idle connection ready.
    Keeper,
    /// The drain replaces an older connection.
    Drain,
}

/// Why no attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotNow {
    /// A delay is running.
    Until(Instant),
    /// There is no room for another connection, or enough attempts are in flight already. Waiting callers
    /// are told when this changes.
    UntilChange,
}

impl NotNow {
    /// When to ask again, if nothing changes earlier.
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

    /// Begins an attempt, if there is a slot for the new connection.
    ///
    /// While a caller waits, the next attempt begins within the base delay after the last failure, however
    /// many failures there were. So the pool finds a server that has come back within that time. While
    /// nobody waits, the delay doubles with every failure in a row.
    ///
    /// The slot is taken under the lock. Otherwise one caller could hold a slot that it cannot use, and
    /// another one would find none free at that moment.
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

    /// Why a caller need not wait: waiting does not cure the last failure, or the breaker is not closed.
    ///
    /// A caller that may not begin an attempt asks this. The answer does not matter while a connection
    /// lives.
    pub(crate) fn refusal(&self) -> Option<ConnectError> {
        let attempts = self.lock();
        let failures = attempts.failures.as_ref()?;
        let broken = attempts.breaker != Breaker::Closed;
        let final_for_now = failures.last.is_permanent() && failures.caller_from > Instant::now();
        (broken || final_for_now).then(|| failures.last.clone())
    }

    /// Notes the total of connections that the server has ended or left unanswered. If it has grown, the
    /// pool may have to make many connections again, so logins start again with one at a time.
    pub(crate) fn lost(&self, connections: u64) {
        let mut attempts = self.lock();
        if connections > attempts.lost {
            attempts.lost = connections;
            (attempts.at_once, attempts.has_failed) = (1, true);
        }
    }

    /// Forgets all failures, because proven credentials have replaced the failed ones.
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
            // When attempts that ran at the same time fail, only the first failure counts. A delay follows
            // each failure, so no attempt begins right at one.
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

    /// Sets the breaker, and logs a change. Only this function does so.
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
    /// The keeper begins with one attempt even if nothing has failed: nobody waits for it, and it should
    /// try wrong credentials once, and not once for each connection that it wants.
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
            Urge::Keeper | Urge::Drain => failures.keeper_from,
        })
    }
}

/// One attempt in flight. Dropped without an outcome, it says nothing about the server.
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

/// A random delay in the upper half, so that the instances of a service do not all come at once.
fn jittered(full: Duration) -> Duration {
    full.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// The most logins of one pool in flight, because the server must serve the logins of all pools.
const MOST_AT_ONCE: u32 = 8;

#[cfg(test)]
mod tests;
