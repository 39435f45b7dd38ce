//! The gate: who may hold a connection, in the order of arrival.
//!
//! bb8 wakes whoever happens to look first; 64 tasks on 10 connections then starve some of their
//! number for seconds. A fair semaphore in front of it lets nobody overtake.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout_at};

/// A first-come, first-served gate of `max` permits.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// Why the gate let nobody through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    TimedOut,
    Closed,
}

impl Gate {
    pub(crate) fn new(permits: u32) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(permits as usize)),
            waiting: AtomicU32::new(0),
        }
    }

    /// Waits for a permit until the deadline; a dropped future gives its place in the queue up.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Barred> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(Barred::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        let _waiting = Waiting::new(&self.waiting);
        match timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(Barred::Closed),
            Err(_elapsed) => Err(Barred::TimedOut),
        }
    }

    /// Adds permits.
    pub(crate) fn widen(&self, permits: u32) {
        self.permits.add_permits(permits as usize);
    }

    /// Takes permits away, those in use as soon as they come back; ahead of everybody who comes later.
    pub(crate) async fn narrow(&self, permits: u32) {
        if let Ok(taken) = Arc::clone(&self.permits).acquire_many_owned(permits).await {
            taken.forget();
        }
    }

    /// Lets nobody through any more and sends the waiting away.
    pub(crate) fn close(&self) {
        self.permits.close();
    }

    /// How many callers wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

struct Waiting<'g>(&'g AtomicU32);

impl<'g> Waiting<'g> {
    fn new(count: &'g AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// Case F10: nobody overtakes.
    #[tokio::test(start_paused = true)]
    async fn permits_go_out_in_the_order_of_arrival() {
        let gate = Arc::new(Gate::new(1));
        let held = gate.enter(soon()).await.unwrap();
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..10)
            .map(|n| {
                let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
                tokio::spawn(async move {
                    let _permit = gate.enter(soon()).await.unwrap();
                    order.lock().unwrap().push(n);
                })
            })
            .collect();
        while gate.waiting() < 10 {
            tokio::task::yield_now().await;
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
        assert_eq!(gate.waiting(), 0);
    }

    /// Case R01: a caller waits no longer than it said.
    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline_and_when_the_gate_closes() {
        let gate = Gate::new(1);
        let _held = gate.enter(soon()).await.unwrap();
        assert_eq!(gate.enter(soon()).await.unwrap_err(), Barred::TimedOut);
        let (entered, ()) = tokio::join!(gate.enter(soon()), async { gate.close() });
        assert_eq!(entered.unwrap_err(), Barred::Closed);
    }
}
