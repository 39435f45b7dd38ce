//! Validation: decides whether a backend that was idle may be handed out.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::backend::store::Stored;
use crate::shared::Shared;

/// Whether a backend has been in steady use and may be handed out as it is.
pub(crate) fn is_fresh(shared: &Shared, stored: &Stored, now: Instant) -> bool {
    let idle = stored.idle_for(now);
    idle < UNHEARD && idle < shared.profile.validate_after && stored.overdue(now).is_none()
}

/// Returns the backend if it may be handed out. A backend that was idle for long must answer a
/// ping.
///
/// A ping goes on even if the deadline comes first or this future is dropped. Otherwise callers
/// with less time than a round trip would throw away one healthy backend after the other.
pub(crate) async fn proved(
    shared: &Arc<Shared>,
    stored: Stored,
    deadline: Instant,
) -> Option<Stored> {
    let stored = lasting(shared, stored).await?;
    match stored.idle_for(Instant::now()) < shared.profile.validate_after {
        true => Some(stored),
        false => pinged(shared, stored, deadline).await,
    }
}

/// Whether an idle backend answers a ping by the deadline. If it does, it goes back into the store.
pub(crate) async fn answers(shared: &Arc<Shared>, stored: Stored, deadline: Instant) -> bool {
    let Some(stored) = lasting(shared, stored).await else {
        return false;
    };
    let answered = pinged(shared, stored, deadline).await;
    answered.map(|stored| Taken::new(stored, shared)).is_some()
}

/// Returns the backend unless its time is over or it has ended.
async fn lasting(shared: &Arc<Shared>, mut stored: Stored) -> Option<Stored> {
    if stored.idle_for(Instant::now()) >= UNHEARD {
        // The server may have sent something that is still in the socket. Yielding lets the runtime
        // look there, and lets the driver notice that the connection has ended.
        let taken = Taken::new(stored, shared);
        tokio::task::yield_now().await;
        stored = taken.keep()?;
    }
    match stored.overdue(Instant::now()) {
        Some(reason) => {
            stored.mark_for_closing(reason);
            None
        }
        None => Some(stored),
    }
}

/// Returns the backend if it answers a ping.
async fn pinged(shared: &Arc<Shared>, stored: Stored, deadline: Instant) -> Option<Stored> {
    let (answer, answered) = oneshot::channel();
    let taken = Taken::new(stored, shared);
    shared.registry.spawn(Ping { taken, answer }.run());
    match timeout_at(deadline, answered).await {
        Ok(Ok(taken)) if !shared.registry.is_closed() => taken.keep(),
        _ => None,
    }
}

/// Asks one backend for a sign of life, in a task of its own.
struct Ping {
    taken: Taken,
    answer: oneshot::Sender<Taken>,
}

impl Ping {
    async fn run(self) {
        let Self { mut taken, answer } = self;
        let patience = taken.shared.profile.validation_timeout;
        let Some(stored) = &mut taken.stored else {
            return;
        };
        stored.mark_until_it_answers();
        if let Ok(Ok(())) = timeout(patience, stored.conn_mut().batch_execute("")).await {
            stored.unmark();
            // If its caller no longer waits, it goes back into the store.
            let _given_up = answer.send(taken);
        }
    }
}

/// A backend on its way to a caller. If this caller leaves, the next one is told.
struct Taken {
    stored: Option<Stored>,
    shared: Arc<Shared>,
}

impl Taken {
    fn new(stored: Stored, shared: &Arc<Shared>) -> Self {
        Self {
            stored: Some(stored),
            shared: Arc::clone(shared),
        }
    }

    fn keep(mut self) -> Option<Stored> {
        self.stored.take()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(stored) = self.stored.take() else {
            return;
        };
        // In this order, so that a woken caller finds it in the store.
        self.shared.store.put_back(stored);
        self.shared.registry.changes.tell();
        if self.shared.registry.is_closed() {
            // The pool may have closed its idle backends while this one was on its way.
            self.shared.sweep();
        }
    }
}

/// The idle time from which the socket is checked. The socket of a connection in steady use is
/// never checked.
const UNHEARD: Duration = Duration::from_millis(1);
