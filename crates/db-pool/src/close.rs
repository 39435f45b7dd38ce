//! Closing a pool: the waiting are sent away, the idle closed, the held waited for, then cancelled.

use std::time::Duration;

use tokio::time::timeout;

use crate::pool::Shared;
use crate::status::Closed;

impl Shared {
    pub(crate) fn begin_close(&self) {
        self.registry.begin_close();
        self.gate.close();
        self.sweep();
    }

    pub(crate) async fn close(&self, grace: Duration) -> Closed {
        self.begin_close();
        let _in_time = timeout(grace, self.unused()).await;
        let held: Vec<_> = self
            .registry
            .leases()
            .into_iter()
            .filter(|lease| lease.is_held())
            .collect();
        let abandoned = u32::try_from(held.len()).unwrap_or(u32::MAX);
        let cancelling = held.iter().map(|lease| lease.cancel());
        futures_util::future::join_all(cancelling).await;
        // What was cancelled has a moment to come back, what came back to be closed by the server.
        self.registry.tasks.close();
        let _in_time = timeout(FAREWELL, self.registry.tasks.wait()).await;
        tracing::info!(pool = &*self.registry.name, abandoned, "the pool is closed");
        Closed { abandoned }
    }

    /// Resolves when nobody holds a connection.
    async fn unused(&self) {
        let listener = self.registry.changes.listen();
        loop {
            let mut changed = std::pin::pin!(listener.next());
            changed.as_mut().enable();
            if self.registry.in_use() == 0 {
                return;
            }
            changed.await;
        }
    }
}

/// How long closing waits for the server to hang up after the grace.
const FAREWELL: Duration = Duration::from_secs(2);
