//! One caller's turn among the callers that have passed the gate and have no connection yet.

use std::sync::Arc;

use crate::backend::store::Stored;
use crate::registry::Registry;
use crate::shared::Shared;

/// One caller's turn; its drop makes room for those behind it.
pub(crate) struct Turn<'r> {
    registry: &'r Registry,
    permit: u64,
    stands: bool,
}

impl<'r> Turn<'r> {
    pub(crate) fn new(registry: &'r Registry, permit: u64) -> Self {
        Self {
            registry,
            permit,
            stands: false,
        }
    }

    /// Takes the backend that was returned last, if one is there for each older caller too; stands in
    /// line otherwise.
    ///
    /// Whoever calls it has asked to be told of changes before: what happens after the look is not
    /// noticed here.
    pub(crate) fn take(&mut self, shared: &Shared) -> Option<Stored> {
        let line = &self.registry.line;
        // With nobody in line there is nobody to overtake.
        if !self.stands
            && line.is_empty()
            && let Some(stored) = shared.store.take()
        {
            return Some(stored);
        }
        let taken = line.take(self.permit, |older| {
            (shared.store.idle() as usize > older)
                .then(|| shared.store.take())
                .flatten()
        });
        self.stands = taken.is_none();
        taken
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.stands {
            self.registry.line.leave(self.permit);
            // What was kept for this one is the next one's now.
            self.registry.changes.tell();
        }
    }
}

/// A connection that is being made; its drop says that it is there, or that it will not be.
pub(crate) struct Coming(Arc<Registry>);

impl Coming {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        registry.line.one_is_coming();
        Self(Arc::clone(registry))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.line.one_has_come();
        self.0.changes.tell();
    }
}
