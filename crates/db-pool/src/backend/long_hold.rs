//! Long holds: one event for each connection that is held for longer than `leak_threshold`.
//!
//! The holder keeps its connection: such a long hold may be a leak or a nightly job, and the event
//! names the source line to look at.

use std::time::Duration;

use crate::backend::hold::Hold;

/// Emits the event of a hold that has become too long.
pub(crate) fn report(pool: &str, hold: &Hold) {
    tracing::warn!(
        target: "app_db::pool",
        pool,
        call_site = %hold.call_site,
        held_ms = ms(hold.held),
        label = hold.label,
        transaction = hold.transaction_word(),
        running_ms = hold.running.map(ms),
        statement = hold.statement.as_deref(),
        "a connection is held for long"
    );
}

/// Emits the event that such a hold has ended.
pub(crate) fn report_return(
    pool: &str,
    call_site: Option<&std::panic::Location<'_>>,
    held: Duration,
) {
    tracing::info!(
        target: "app_db::pool",
        pool,
        call_site = call_site.map(tracing::field::display),
        held_ms = ms(held),
        "a connection that was held for long has come back"
    );
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
