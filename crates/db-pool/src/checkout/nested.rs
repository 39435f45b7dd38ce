//! Nested checkouts: work that holds a connection and asks its own pool for another one.
//!
//! It goes well until as many do so at once as the pool has connections: then each waits for what
//! another holds. Such a checkout is counted, and refused instead of queued where no permit is free: the
//! deadlock is reported and not waited out.
//!
//! What is polled inside the work is nested, and only that: a task that it spawns is not, and two
//! helpers beside each other in one `join!` are not. A connection that a caller holds by itself, outside
//! a helper, is not seen.

use std::panic::Location;
use std::sync::Arc;

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
