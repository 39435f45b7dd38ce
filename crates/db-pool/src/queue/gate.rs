//! The gate: who may hold a connection, in the order of arrival.
//!
//! bb8 serves the task that happens to look first. With 64 tasks on 10 connections, some tasks then
//! wait for seconds. A queue in front of bb8 lets nobody overtake.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::queue::waits::Waits;

/// A first-come, first-served gate that lets `max` callers through at a time.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The callers that are through and the callers that wait. The gate wakes and drops nothing
    /// while it is locked.
    state: Mutex<State>,
    /// How many may wait; `None` is any number.
    max_waiting: Option<u32>,
    pub(crate) waits: Waits,
}

#[derive(Debug)]
struct State {
    max: u32,
    /// How many permits are out.
    out: u32,
    /// How many permits were ever given out.
    issued: u64,
    /// How many callers ever had to queue.
    queued: u64,
    /// The waiting callers, by the number of their arrival.
    queue: BTreeMap<u64, Waiter>,
    closed: bool,
}

#[derive(Debug)]
struct Waiter {
    grant: oneshot::Sender<Permit>,
    since: Instant,
    /// How many permits had been given out when the caller came.
    issued: u64,
}

/// Why the gate refused a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody made room by the deadline.
    TimedOut,
    /// This many callers already wait, and no more may.
    Full(u32),
    /// No permit was free, and the caller does not queue.
    Taken,
    Closed,
}

impl Gate {
    pub(crate) fn new(max: u32, max_waiting: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                max,
                out: 0,
                issued: 0,
                queued: 0,
                queue: BTreeMap::new(),
                closed: false,
            }),
            max_waiting,
            waits: Waits::default(),
        })
    }

    /// Waits for a permit until the deadline. A dropped future leaves the queue.
    ///
    /// With a deadline that has passed, it takes a free permit and does not queue.
    pub(crate) async fn enter(self: &Arc<Self>, deadline: Instant) -> Result<Permit, Refusal> {
        let (waiting, granted) = match self.try_enter() {
            Err(Refusal::Taken) => self.queue_up(deadline)?,
            decided => return decided,
        };
        let entered = timeout_at(deadline, granted).await;
        drop(waiting);
        match entered {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(Refusal::Closed),
            Err(_elapsed) => Err(Refusal::TimedOut),
        }
    }

    /// A permit, if one is free and nobody waits for it.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Result<Permit, Refusal> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if state.out >= state.max || !state.queue.is_empty() {
            return Err(Refusal::Taken);
        }
        let number = state.issue();
        drop(state);
        self.waits.none();
        Ok(Permit {
            gate: Arc::clone(self),
            number,
        })
    }

    fn queue_up(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<(Waiting<'_>, oneshot::Receiver<Permit>), Refusal> {
        let since = Instant::now();
        if since >= deadline {
            return Err(Refusal::TimedOut);
        }
        let (grant, granted) = oneshot::channel();
        let mut state = self.lock();
        if state.closed {
            return Err(Refusal::Closed);
        }
        let waiting = state.waiting();
        if self.max_waiting.is_some_and(|most| waiting >= most) {
            return Err(Refusal::Full(waiting));
        }
        state.queued += 1;
        let arrival = state.queued;
        let issued = state.issued;
        let waiter = Waiter {
            grant,
            since,
            issued,
        };
        state.queue.insert(arrival, waiter);
        drop(state);
        // A permit may have come back since the last look. It goes to the first caller in the
        // queue.
        self.pass_on();
        let waiting = Waiting {
            gate: self,
            arrival,
            since,
        };
        Ok((waiting, granted))
    }

    /// Changes how many callers may be through. Permits that are out stay out. If more are out than
    /// the new number allows, none is given out until enough have come back.
    pub(crate) fn resize(self: &Arc<Self>, max: u32) {
        self.lock().max = max;
        self.pass_on();
    }

    /// Lets no further caller through, and sends waiting callers away.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let sent_away = std::mem::take(&mut state.queue);
        drop(state);
        drop(sent_away);
    }

    /// How many callers wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.lock().waiting()
    }

    /// How long the first caller in the queue has waited, and how many others were let through
    /// meanwhile.
    pub(crate) fn longest_wait(&self) -> Option<(Duration, u64)> {
        let state = self.lock();
        let (_, first) = state.queue.first_key_value()?;
        Some((first.since.elapsed(), state.issued - first.issued))
    }

    /// Gives free permits to the callers that have waited longest.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let Some((grant, number)) = self.lock().next() else {
                return;
            };
            let permit = Permit {
                gate: Arc::clone(self),
                number,
            };
            // A caller that leaves at this moment drops the permit, and the drop passes it on.
            let _gone = grant.send(permit);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn waiting(&self) -> u32 {
        u32::try_from(self.queue.len()).unwrap_or(u32::MAX)
    }

    fn issue(&mut self) -> u64 {
        self.out += 1;
        self.issued += 1;
        self.issued
    }

    /// The caller that gets a permit now, and the permit's number.
    fn next(&mut self) -> Option<(oneshot::Sender<Permit>, u64)> {
        if self.out >= self.max {
            return None;
        }
        let (_, waiter) = self.queue.pop_first()?;
        Some((waiter.grant, self.issue()))
    }
}

/// The right to hold a connection. Dropping it lets the next caller through.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    number: u64,
}

impl Permit {
    /// How many permits had been given out, including this one.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.out -= 1;
        if state.queue.is_empty() {
            return;
        }
        drop(state);
        self.gate.pass_on();
    }
}

/// A caller in the queue. Dropping this takes the caller out of the queue.
struct Waiting<'g> {
    gate: &'g Gate,
    arrival: u64,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let given_up = self.gate.lock().queue.remove(&self.arrival);
        drop(given_up);
        self.gate.waits.waited(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests;
