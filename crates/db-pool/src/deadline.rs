//! The end of a caller's time.

use std::time::Duration;

use tokio::time::Instant;

/// When the patience is over; a year from `from` if the clock cannot represent it.
pub(crate) fn deadline(from: Instant, patience: Duration) -> Instant {
    from.checked_add(patience).unwrap_or(from + A_YEAR)
}

const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
