//! Waiting for a condition without a fixed sleep.

use std::time::{Duration, Instant};

/// Asks `check` again and again until it says yes.
///
/// # Panics
/// When `patience` is over. The message contains `what`.
pub async fn wait_until(what: &str, patience: Duration, mut check: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !check().await {
        assert!(
            start.elapsed() < patience,
            "waited {patience:?} in vain until {what}"
        );
        tokio::time::sleep(INTERVAL).await;
    }
}

const INTERVAL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "in vain until pigs fly")]
    async fn a_vain_wait_says_what_it_waited_for() {
        wait_until("pigs fly", Duration::from_millis(10), async || false).await;
    }
}
