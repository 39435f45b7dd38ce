//! Entering the gate. While a caller waits, this finds out whether the cause is the load or a silent server.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::connect::pooler::Pooler;
use crate::generation::Generation;
use crate::queue::gate::{Permit, Refusal};
use crate::shared::Shared;
use crate::sign_of_life::LEAST;
use crate::totals::Totals;

/// Waits at the gate. When half of the caller's time is over, and all holders wait for the server, it asks the
/// server for a sign of life.
pub(crate) async fn enter(
    shared: &Arc<Shared>,
    caller: &'static Location<'static>,
    arrived: Instant,
    deadline: Instant,
) -> Result<Permit, Refusal> {
    note_nested(shared, caller);
    let Some(half) = half_way(arrived, deadline) else {
        return shared.gate.enter(deadline).await;
    };
    let mut entering = std::pin::pin!(shared.gate.enter(deadline));
    tokio::select! {
        biased;
        entered = &mut entering => return entered,
        () = sleep_until(half) => {}
    }
    if all_wait_for_the_server(shared) {
        ask_for_a_sign_of_life(shared);
    }
    entering.await
}

/// When half of a caller's time is over. `None` if the other half is too short to conclude anything.
pub(crate) fn half_way(arrived: Instant, deadline: Instant) -> Option<Instant> {
    let half = deadline.saturating_duration_since(arrived) / 2;
    (half >= LEAST).then(|| arrived + half)
}

/// Asks in the background, unless somebody is already asking.
pub(crate) fn ask_for_a_sign_of_life(shared: &Arc<Shared>) {
    if shared.registry.sign_of_life.begin() {
        let asking = Arc::clone(shared);
        shared.registry.spawn(async move { ask(&asking).await });
    }
}

/// A caller may wait while its own task holds a connection in a diesel transaction. If nobody else returns a
/// connection, the caller waits for itself. The pool counts such callers but does not refuse them, because it
/// cannot see whether the caller is polled inside that transaction or beside it.
fn note_nested(shared: &Shared, caller: &'static Location<'static>) {
    let Some(task) = tokio::task::try_id() else {
        return;
    };
    let live_backends = shared.registry.live_backends();
    let mut outer = live_backends
        .iter()
        .filter_map(|live| live.plain_transaction_of(task));
    if let Some(outer) = outer.next() {
        Totals::count(&shared.registry.totals.nested);
        tracing::debug!(
            target: "app_db::pool",
            pool = &*shared.registry.name,
            %outer,
            call_site = %caller,
            "a checkout waits in a task that holds a connection of the same pool in a transaction"
        );
    }
}

fn all_wait_for_the_server(shared: &Shared) -> bool {
    let live_backends = shared.registry.live_backends();
    let mut held = live_backends
        .iter()
        .filter(|live| live.is_held())
        .peekable();
    held.peek().is_some() && held.all(|live| live.is_waiting())
}

/// Asks the server without a session. A pooler would answer for itself, and only a query shows whether it has a
/// server, so behind a pooler this logs in beside the pool.
async fn ask(shared: &Shared) {
    let endpoint = shared.registry.generations.current().endpoint.clone();
    let asking = async {
        match shared.dialler.pooler() {
            Pooler::None | Pooler::Unknown => shared.dialler.knock(&endpoint).await,
            _ => drop(shared.dialler.dial(&Generation::beside(endpoint)).await),
        }
    };
    let answered = tokio::select! {
        outcome = timeout(MOST, asking) => outcome.is_ok(),
        () = shared.registry.closing.cancelled() => true,
    };
    shared.registry.sign_of_life.ended(answered);
}

/// How long to wait for an answer.
const MOST: Duration = Duration::from_secs(5);
