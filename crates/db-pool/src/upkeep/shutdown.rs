//! Closing a pool: the waiting are sent away, the idle closed, the held waited for, then cancelled.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::backend::lease::Lease;
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
        let mut at_work = held.clone();
        at_work.retain(|lease| lease.hold().is_some_and(|hold| hold.running.is_some()));
        let cancelling = held.iter().map(|lease| lease.cancel());
        futures_util::future::join_all(cancelling).await;
        // What was at work has a moment to come back, what came back to be closed by the server.
        self.registry.tasks.close();
        let leaving = async {
            self.given_back(&at_work).await;
            self.registry.tasks.wait().await;
        };
        let _in_time = timeout(FAREWELL, leaving).await;
        tracing::info!(pool = &*self.registry.name, abandoned, "the pool is closed");
        Closed { abandoned }
    }

    /// Resolves when nobody holds a connection.
    async fn unused(&self) {
        self.until(|| self.registry.in_use() == 0).await;
    }

    /// Resolves when nobody holds one of these; each is closed then, which is announced.
    async fn given_back(&self, leases: &[Arc<Lease>]) {
        self.until(|| !leases.iter().any(|lease| lease.is_held()))
            .await;
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let listener = self.registry.changes.listen();
        loop {
            let mut changed = std::pin::pin!(listener.next());
            changed.as_mut().enable();
            if holds() {
                return;
            }
            changed.await;
        }
    }
}

/// How long closing waits after the grace, for what is cancelled to end and for the server to hang up.
const FAREWELL: Duration = Duration::from_secs(2);
