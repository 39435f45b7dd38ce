//! Closing a pool: it sends waiting callers away, closes idle connections, waits for held ones, and
//! then cancels their statements.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::backend::live_backend::LiveBackend;
use crate::shared::Shared;
use crate::status::Closed;

pub(crate) async fn close(shared: &Shared, grace: Duration) -> Closed {
    shared.begin_close();
    let _in_time = timeout(grace, unused(shared)).await;
    let held: Vec<_> = shared
        .registry
        .live_backends()
        .into_iter()
        .filter(|live| live.is_held())
        .collect();
    let abandoned = u32::try_from(held.len()).unwrap_or(u32::MAX);
    let mut at_work = held.clone();
    at_work.retain(|live| live.hold().is_some_and(|hold| hold.running.is_some()));
    let cancelling = held.iter().map(|live| live.cancel());
    futures_util::future::join_all(cancelling).await;
    // Cancelled statements get a moment to return their connections, and the server a moment to close
    // the returned ones.
    shared.registry.tasks().close();
    let leaving = async {
        given_back(shared, &at_work).await;
        shared.registry.tasks().wait().await;
    };
    let _in_time = timeout(AFTER_GRACE, leaving).await;
    tracing::info!(target: "app_db::pool",
        pool = &*shared.registry.name,
        abandoned,
        "the pool is closed"
    );
    Closed { abandoned }
}

/// Resolves when nobody holds a connection.
async fn unused(shared: &Shared) {
    until(shared, || shared.registry.in_use() == 0).await;
}

/// Resolves when nobody holds one of these. The pool closes each when it comes back, and announces
/// that.
async fn given_back(shared: &Shared, live_backends: &[Arc<LiveBackend>]) {
    until(shared, || !live_backends.iter().any(|live| live.is_held())).await;
}

async fn until(shared: &Shared, holds: impl Fn() -> bool) {
    let listener = shared.registry.changes.listen();
    loop {
        let mut changed = std::pin::pin!(listener.next());
        changed.as_mut().enable();
        if holds() {
            return;
        }
        changed.await;
    }
}

/// How long the close waits after the grace for cancelled statements to end and for the server to
/// hang up.
const AFTER_GRACE: Duration = Duration::from_secs(2);
