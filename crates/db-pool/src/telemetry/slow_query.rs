//! The slow-query log: one event for each command that took longer than the threshold.
//!
//! The wire reports it, so a statement whose rows stream for a second counts as a second.

use std::time::{Duration, Instant};

use crate::telemetry::bound_values::BoundValues;
use crate::telemetry::observer::Holder;
use crate::telemetry::statement_stats::Entry;
use db_wire::Command;

/// Logs a slow command, unless its fingerprint has had too many events recently.
///
/// `values` are the values bound to it, if the configuration allows showing them.
pub(crate) fn log(
    pool: &str,
    command: &Command<'_>,
    entry: &Entry,
    holder: &Holder,
    values: Option<&BoundValues>,
) {
    let Some(suppressed) = entry.throttle.admit(Instant::now()) else {
        return;
    };
    tracing::warn!(
        target: "app_db::slow_query",
        pool,
        label = holder.label,
        caller = holder.caller.map(tracing::field::display),
        attempt = holder.attempt,
        fingerprint = entry.id(),
        sql = &*entry.fingerprint.text,
        binds = values.map(BoundValues::revealed),
        duration_ms = millis(command.duration),
        waited_ms = millis(holder.waited),
        first_row_ms = millis(command.executing),
        streaming_ms = millis(command.duration.saturating_sub(command.executing)),
        rows = command.rows,
        sqlstate = command.sqlstate.map(tokio_postgres::error::SqlState::code),
        in_transaction = command.in_transaction,
        suppressed,
        "slow query"
    );
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
