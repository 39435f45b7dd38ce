//! A limit on how often something may begin: a token bucket.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};

/// A token bucket, for an endpoint of a service or a pool; clones share it.
///
/// It lets a burst through, and after that a fixed number in each second. Asking takes neither a
/// lock nor memory.
#[derive(Clone)]
pub struct RateLimit {
    limiter: Arc<DefaultDirectRateLimiter>,
    per_second: NonZeroU32,
}

/// The bucket is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {per_second} a second are asked for; the next may begin in {retry_after:?}")]
#[non_exhaustive]
pub struct RateLimited {
    /// How many may begin in a second.
    pub per_second: u32,
    /// When the next token comes, if nobody else takes it.
    pub retry_after: Duration,
}

impl RateLimit {
    /// A full bucket of `burst` tokens. It gets `per_second` new ones each second.
    #[must_use]
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self {
            limiter: Arc::new(DefaultDirectRateLimiter::direct(quota)),
            per_second,
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] at once if there is none, with the time until there is one.
    pub fn take(&self) -> Result<(), RateLimited> {
        self.limiter.check().map_err(|not_until| RateLimited {
            per_second: self.per_second.get(),
            retry_after: not_until.wait_time_from(DefaultClock::default().now()),
        })
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("per_second", &self.per_second)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req 4.20: a burst passes, and callers after it are told when to come again.
    #[test]
    fn a_burst_passes_and_the_rest_is_told_when() {
        let number = |n| NonZeroU32::new(n).unwrap();
        let limit = RateLimit::new(number(1), number(3));
        let same = limit.clone();
        assert!(limit.take().is_ok() && same.take().is_ok() && limit.take().is_ok());
        let limited = same.take().unwrap_err();
        assert_eq!(limited.per_second, 1);
        assert!(limited.retry_after <= Duration::from_secs(1) && !limited.retry_after.is_zero());
        assert!(limited.to_string().starts_with("more than 1 a second"));
    }
}
