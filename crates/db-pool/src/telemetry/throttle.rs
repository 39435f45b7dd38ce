//! A limit on the slow-query events of one fingerprint.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets a few events of one fingerprint through in each window, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    admitted: u32,
    suppressed: u64,
}

impl Throttle {
    /// How many events have been suppressed since the last one, if this one is let through.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window
            .began
            .is_none_or(|began| now.saturating_duration_since(began) >= WINDOW)
        {
            window.began = Some(now);
            window.admitted = 0;
        }
        if window.admitted >= MAX_IN_WINDOW {
            window.suppressed += 1;
            return None;
        }
        window.admitted += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

/// The most events of one fingerprint in each window.
const MAX_IN_WINDOW: u32 = 5;
const WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// case R63: a statement that is always slow leaves room for others, and its events say how many were
    /// left out.
    #[test]
    fn a_fingerprint_is_logged_so_often_and_counted_beyond() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..MAX_IN_WINDOW {
            assert_eq!(throttle.admit(now), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(throttle.admit(now + WINDOW / 2), None);
        }
        assert_eq!(throttle.admit(now + WINDOW), Some(7));
        assert_eq!(throttle.admit(now + WINDOW), Some(0));
    }
}
