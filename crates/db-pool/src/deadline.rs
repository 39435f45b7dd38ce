//! The end of a caller's time.

use std::time::Duration;

use tokio::time::Instant;

/// When so much time is over; a year from now where the clock cannot hold it.
pub(crate) fn deadline(from: Instant, patience: Duration) -> Instant {
    from.checked_add(patience).unwrap_or(from + A_YEAR)
}

const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
