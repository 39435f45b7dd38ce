//! Long holds: one event for each connection that is held for longer than `leak_threshold`.
//!
//! Nothing is taken away from anybody: a hold that long may be a leak or a night's work, and the event
//! says which line to look at.

use std::time::Duration;

use crate::backend::hold::Hold;
use crate::pool::Shared;
use crate::status::Totals;

impl Shared {
    /// Reports every hold that has become too long since this was called last.
    pub(crate) fn report_long_holds(&self) {
        let Some(threshold) = self.profile.leak_threshold else {
            return;
        };
        if self.registry.in_use() == 0 {
            return;
        }
        for lease in self.registry.leases() {
            if let Some(hold) = lease.newly_long(threshold) {
                Totals::count(&self.registry.totals.long_holds);
                report(&self.registry.name, &hold);
            }
        }
    }
}

fn report(pool: &str, hold: &Hold) {
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

/// The other end of that event.
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
