//! Changing the size of a pool while it is in use.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::pool::Shared;

impl Shared {
    pub(crate) fn resize(self: &Arc<Self>, max: u32) {
        let resizing = self.resizing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.max.swap(max, Ordering::AcqRel);
        if max > before {
            let grown = max - before;
            self.gate.widen(grown);
            self.slots.add_permits(grown as usize);
        } else if max < before {
            let shrunk = before - max;
            self.owed.fetch_add(shrunk, Ordering::AcqRel);
            self.registry.spawn(
                Shrink {
                    shared: Arc::clone(self),
                    by: shrunk,
                }
                .run(),
            );
        }
        drop(resizing);
        self.registry.changed.notify_waiters();
        self.wake_keeper();
    }
}

/// Takes permits away as they come back, in a task of its own.
struct Shrink {
    shared: Arc<Shared>,
    by: u32,
}

impl Shrink {
    async fn run(self) {
        for _ in 0..self.by {
            let shared = &self.shared;
            let taking = async {
                shared.gate.narrow(1).await;
                // The keeper and those who return connections end what is too many.
                if let Ok(slot) = Arc::clone(&shared.slots).acquire_owned().await {
                    slot.forget();
                }
            };
            tokio::select! {
                () = taking => {}
                () = shared.registry.closing.cancelled() => return,
            }
            shared.owed.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
