//! Warming a pool up: waiting for what the keeper makes ahead.

use std::time::Duration;

use tokio::time::timeout;

use crate::pool::{Pool, Shared};

impl Pool {
    /// Waits until `min_idle` connections are open, so that the first requests need not log in (req 0.32).
    ///
    /// Returns whether they are. It is `false` as soon as an attempt to connect fails, and when the
    /// patience is over or the pool closed; the pool goes on trying then, and serves with what it has.
    ///
    /// Dropping the future loses nothing. It costs as many logins as are missing, a few of them at a time.
    pub async fn warm_up(&self, patience: Duration) -> bool {
        let shared = self.shared();
        shared.wake_keeper();
        timeout(patience, shared.warmed_up()).await.unwrap_or(false)
    }
}

impl Shared {
    async fn warmed_up(&self) -> bool {
        let failures = self.status().connect_failures;
        let listener = self.registry.changes.listen();
        loop {
            let mut changed = std::pin::pin!(listener.next());
            changed.as_mut().enable();
            let status = self.status();
            if status.idle + status.in_use >= self.profile.min_idle.min(status.max) {
                return true;
            }
            if status.connect_failures > failures {
                return false;
            }
            tokio::select! {
                () = changed => {}
                () = self.registry.closing.cancelled() => return false,
            }
        }
    }
}
