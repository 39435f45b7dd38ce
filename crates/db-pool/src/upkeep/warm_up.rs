//! Warms up a pool: waits for the idle connections that the keeper makes.

use std::time::Duration;

use tokio::time::timeout;

use crate::shared::Shared;

/// Waits until `min_idle` connections are open. Returns `false` if that does not happen.
pub(crate) async fn warm_up(shared: &Shared, patience: Duration) -> bool {
    shared.registry.begin();
    shared.wake_keeper();
    timeout(patience, warmed_up(shared)).await.unwrap_or(false)
}

async fn warmed_up(shared: &Shared) -> bool {
    let failures = shared.status().connects.failed;
    let listener = shared.registry.changes.listen();
    loop {
        let mut changed = std::pin::pin!(listener.next());
        changed.as_mut().enable();
        let status = shared.status();
        if status.idle + status.in_use >= shared.min_idle() {
            return true;
        }
        if status.connects.failed > failures {
            return false;
        }
        tokio::select! {
            () = changed => {}
            () = shared.registry.closing.cancelled() => return false,
        }
    }
}
