//! Changing the size of a pool while it is in use.

use std::sync::PoisonError;

use crate::error::PoolError;
use crate::shared::Shared;

pub(crate) fn resize(shared: &Shared, max: u32) -> Result<(), PoolError> {
    let ceiling = shared.profile.ceiling;
    if max == 0 || max > ceiling {
        return Err(PoolError::Resize {
            pool: shared.name(),
            asked: max,
            ceiling,
        });
    }
    let resizing = shared
        .resizing
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    // In this order, so that a caller that passes the wider gate finds a slot.
    shared.slots.resize(max);
    shared.gate.resize(max);
    drop(resizing);
    shared.registry.changes.tell();
    // The keeper closes surplus idle connections. The pool closes surplus connections in use when
    // they come back.
    shared.wake_keeper();
    Ok(())
}
