//! Changing the settings of a pool while it is in use.

use std::sync::PoisonError;

use crate::error::PoolError;
use crate::settings::PoolSettings;
use crate::shared::Shared;

/// Changes all the settings together, or none of them. Returns the settings in force afterwards.
pub(crate) fn reconfigure(
    shared: &Shared,
    change: impl FnOnce(&mut PoolSettings),
) -> Result<PoolSettings, PoolError> {
    let changing = shared
        .resizing
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let live = &shared.registry.settings;
    let before = live.read(shared.max());
    let mut settings = before.clone();
    change(&mut settings);
    let problems = settings.problems(shared.profile.ceiling);
    if !problems.is_empty() {
        return Err(PoolError::Settings {
            pool: shared.name(),
            problems,
        });
    }
    if settings == before {
        return Ok(settings);
    }
    live.write(&settings);
    if settings.max != before.max {
        // In this order, so that a caller that passes the wider gate finds a slot.
        shared.slots.resize(settings.max);
        shared.gate.resize(settings.max);
    }
    drop(changing);
    tracing::info!(target: "app_db::pool",
        pool = &*shared.registry.name,
        before = ?before,
        settings = ?settings,
        "the settings have changed"
    );
    // Idle connections follow the new lifetime at once, and connections in use when they come back.
    shared.sweep();
    shared.registry.changes.tell();
    // The keeper closes surplus idle connections, and makes missing ones.
    shared.wake_keeper();
    Ok(settings)
}
