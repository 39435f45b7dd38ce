//! One caller's turn among the callers that have passed the gate and have no connection yet.

use std::sync::Arc;

use crate::backend::store::Stored;
use crate::registry::Registry;
use crate::shared::Shared;

/// One caller's turn. Dropping it lets the callers behind it move up.
pub(crate) struct Turn<'r> {
    registry: &'r Registry,
    permit: u64,
    waits: bool,
}

impl<'r> Turn<'r> {
    pub(crate) fn new(registry: &'r Registry, permit: u64) -> Self {
        Self {
            registry,
            permit,
            waits: false,
        }
    }

    /// Takes the backend that was returned last, if there is also one for each older caller. Otherwise the
    /// caller waits for its turn.
    ///
    /// The caller must listen for changes before it calls this, because this does not notice a later
    /// change.
    pub(crate) fn take(&mut self, shared: &Shared) -> Option<Stored> {
        let turns = &self.registry.turns;
        // If nobody waits, nobody can be overtaken.
        if !self.waits
            && turns.is_empty()
            && let Some(stored) = shared.store.take()
        {
            return Some(stored);
        }
        let taken = turns.take(self.permit, |older| {
            (shared.store.idle() as usize > older)
                .then(|| shared.store.take())
                .flatten()
        });
        self.waits = taken.is_none();
        taken
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.registry.turns.give_up(self.permit);
            // The next caller may take the backend that was kept for this one.
            self.registry.changes.tell();
        }
    }
}

/// A connection that is being made. Dropping this reports that the connection exists now, or that it will
/// not come.
pub(crate) struct PendingConnection(Arc<Registry>);

impl PendingConnection {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        registry.turns.making_began();
        Self(Arc::clone(registry))
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        self.0.turns.making_ended();
        self.0.changes.tell();
    }
}
