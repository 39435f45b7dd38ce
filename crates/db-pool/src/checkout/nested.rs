//! Nested checkouts: work that holds a connection and asks its own pool for another one.
//!
//! It goes well until as many do so at once as the pool has connections: then each waits for what
//! another holds. Such a checkout is counted, and refused instead of queued where no permit is free: the
//! deadlock is reported and not waited out.
//!
//! What is polled inside the work is nested, and only that: a task that it spawns is not, and two
//! helpers beside each other in one `join!` are not. A guard of an open transaction has no inside: it counts for
//! the task that has used it last, while no statement of it is under way. A connection that a caller holds by
//! itself is not seen.

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

/// Polls work that holds a connection of this pool which `caller` has asked for.
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

/// Where the work being polled has asked this pool for the connection it holds, if it holds one.
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

/// Where the guard was asked for that the task being polled has used last, if it waits for no statement.
fn guarded(pool: &Registry) -> Option<&'static Location<'static>> {
    if pool.guards.load(Ordering::Acquire) == 0 {
        return None;
    }
    let poller = Poller::current();
    let live_backends = pool.live_backends();
    let guarded = live_backends.iter().find(|live| live.is_guarded_by(poller));
    guarded.and_then(|live| live.call_site())
}

/// Says who holds a connection in a guard. Its drop takes that back.
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

    /// It is the guard of the task that polls now.
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

/// The way through the gate for a nested checkout: at once or not at all.
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
