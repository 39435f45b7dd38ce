//! Nested checkouts: work that holds a connection and asks its own pool for another one.
//!
//! This works until as many callers do it at once as the pool has connections: then each waits for a connection
//! that another one holds. The pool counts such a checkout. If no permit is free it refuses the checkout instead
//! of queueing it, so that the deadlock is reported and does not have to time out.
//!
//! Only code that is polled inside the work is nested. A task that the work spawns is not, and two helpers side
//! by side in one `join!` are not. A guard of an open transaction does not enclose any work: it counts for the
//! task that used it last, while none of its statements is running. The pool does not see a connection that a
//! caller holds outside of helpers and guards.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::live_backend::LiveBackend;
use crate::backend::poller::Poller;
use crate::error::PoolError;
use crate::queue::gate::{Permit, Refusal};
use crate::registry::Registry;
use crate::shared::Shared;
use crate::totals::Totals;

/// The connections that the work being polled holds through helpers, innermost first.
#[derive(Clone)]
pub(crate) struct Scope {
    pool: Arc<Registry>,
    call_site: &'static Location<'static>,
    outer: Option<Box<Scope>>,
}

/// Polls work that holds a connection of this pool. `caller` is where that connection was asked for.
pub(crate) fn scope<F: Future>(
    pool: &Arc<Registry>,
    caller: &'static Location<'static>,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    let scope = Scope {
        pool: Arc::clone(pool),
        call_site: caller,
        outer: SCOPES.try_with(|outer| Box::new(outer.clone())).ok(),
    };
    SCOPES.scope(scope, work)
}

/// The source line where the polled work asked this pool for its connection, if it holds one.
pub(crate) fn outer(pool: &Arc<Registry>) -> Option<&'static Location<'static>> {
    SCOPES
        .try_with(|innermost| {
            let mut scopes = std::iter::successors(Some(innermost), |scope| scope.outer.as_deref());
            let of_this_pool = scopes.find(|scope| Arc::ptr_eq(&scope.pool, pool));
            of_this_pool.map(|scope| scope.call_site)
        })
        .ok()
        .flatten()
        .or_else(|| guarded(pool))
}

/// The source line of the guard that the current task used last, if none of the guard's statements is running.
fn guarded(pool: &Registry) -> Option<&'static Location<'static>> {
    if pool.guards.load(Ordering::Acquire) == 0 {
        return None;
    }
    let poller = Poller::current();
    let live_backends = pool.live_backends();
    let guarded = live_backends.iter().find(|live| live.is_guarded_by(poller));
    guarded.and_then(|live| live.call_site())
}

/// Notes which task holds a connection in a guard, until this is dropped.
pub struct GuardMark {
    pool: Arc<Registry>,
    live: Arc<LiveBackend>,
}

impl GuardMark {
    pub(crate) fn new(pool: &Arc<Registry>, live: &Arc<LiveBackend>) -> Self {
        pool.guards.fetch_add(1, Ordering::AcqRel);
        let mark = Self {
            pool: Arc::clone(pool),
            live: Arc::clone(live),
        };
        mark.used();
        mark
    }

    /// Notes that the task that polls now uses the guard.
    pub fn used(&self) {
        self.live.guard(Some(Poller::current()));
    }
}

impl Drop for GuardMark {
    fn drop(&mut self) {
        self.live.guard(None);
        self.pool.guards.fetch_sub(1, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for GuardMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GuardMark").field(&self.pool.name).finish()
    }
}

/// Lets a nested checkout through the gate at once, or not at all.
pub(crate) fn enter(
    shared: &Shared,
    outer: &'static Location<'static>,
    inner: &'static Location<'static>,
) -> Result<Permit, PoolError> {
    Totals::count(&shared.registry.totals.nested);
    let pool = shared.name();
    let permit = match shared.gate.try_enter() {
        Ok(permit) => permit,
        Err(Refusal::Closed) => return Err(shared.closed()),
        Err(_taken) => return Err(PoolError::Nested { pool, outer, inner }),
    };
    tracing::debug!(
        target: "app_db::pool",
        pool = &*pool,
        %outer,
        call_site = %inner,
        "a checkout is nested in work that holds a connection of the same pool"
    );
    Ok(permit)
}

tokio::task_local! {
    static SCOPES: Scope;
}
