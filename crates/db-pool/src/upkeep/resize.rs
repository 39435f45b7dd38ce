//! Changing the size of a pool while it is in use.

use std::sync::{Arc, PoisonError};

use crate::error::PoolError;
use crate::pool::Shared;

impl Shared {
    pub(crate) fn resize(self: &Arc<Self>, max: u32) -> Result<(), PoolError> {
        let ceiling = self.profile.ceiling;
        if max == 0 || max > ceiling {
            return Err(PoolError::Resize {
                pool: self.name(),
                asked: max,
                ceiling,
            });
        }
        let resizing = self.resizing.lock().unwrap_or_else(PoisonError::into_inner);
        // In this order: whoever passes a wider gate finds a slot.
        self.slots.resize(max);
        self.gate.resize(max);
        drop(resizing);
        self.registry.changes.tell();
        // It ends what is idle and too many; what is in use goes when it comes back.
        self.wake_keeper();
        Ok(())
    }
}
