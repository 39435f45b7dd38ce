//! The settings of a pool that can change while it is in use.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::profile::PoolProfile;

/// What [`Pool::reconfigure`](crate::Pool::reconfigure) can change. Everything else stays as in the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSettings {
    /// The maximum of live connections, up to the profile's `ceiling`.
    pub max: u32,
    /// How many idle connections the pool keeps ready.
    pub min_idle: u32,
    /// How many connections may be idle; `None` is any number.
    pub max_idle: Option<u32>,
    /// After how long an idle connection beyond `min_idle` is closed; `None` is never.
    pub idle_timeout: Option<Duration>,
    /// After how long a connection is replaced; up to a quarter is taken off at random. `None` is never.
    pub max_lifetime: Option<Duration>,
    /// How long a caller waits for a connection, connecting included.
    pub checkout_timeout: Duration,
    /// After how long the pool reports a hold of a connection as too long; `None` reports none.
    pub leak_threshold: Option<Duration>,
    /// After which duration the pool logs a statement as slow; `None` logs none.
    pub slow_query: Option<Duration>,
}

impl PoolSettings {
    /// Everything that is wrong with the settings. Each problem says what was expected.
    pub(crate) fn problems(&self, ceiling: u32) -> Vec<String> {
        let Self {
            max,
            min_idle,
            max_idle,
            ..
        } = *self;
        let mut problems = Vec::new();
        if max == 0 || max > ceiling {
            problems.push(format!(
                "max is {max}, expected 1 to the ceiling of {ceiling}"
            ));
        }
        if min_idle > max {
            problems.push(format!(
                "min_idle is {min_idle}, expected 0 to the max of {max}"
            ));
        }
        if let Some(most) = max_idle
            && most < min_idle
        {
            problems.push(format!(
                "max_idle is {most}, expected the min_idle of {min_idle} or more"
            ));
        }
        let times = [
            ("idle_timeout", self.idle_timeout),
            ("max_lifetime", self.max_lifetime),
            ("checkout_timeout", Some(self.checkout_timeout)),
            ("leak_threshold", self.leak_threshold),
            ("slow_query", self.slow_query),
        ];
        let none = times
            .into_iter()
            .filter(|(_, time)| *time == Some(Duration::ZERO));
        problems.extend(none.map(|(name, _)| format!("{name} is 0, expected a time")));
        problems
    }
}

impl PoolProfile {
    /// The initial settings of a pool with this profile.
    #[must_use]
    pub fn settings(&self) -> PoolSettings {
        LiveSettings::new(self).read(self.max)
    }
}

/// The settings in force, except `max`. Each can be read without a lock.
///
/// They change together, under the lock for changes of size. A reader of two of them may see only one new
/// value during a change, as if that one had changed a moment earlier.
#[derive(Debug)]
pub(crate) struct LiveSettings {
    min_idle: AtomicU32,
    max_idle: AtomicU32,
    idle_timeout: AtomicTime,
    max_lifetime: AtomicTime,
    checkout_timeout: AtomicTime,
    leak_threshold: AtomicTime,
    slow_query: AtomicTime,
    /// Raised with each change, so that values derived from a setting are computed again.
    version: AtomicU32,
}

impl LiveSettings {
    pub(crate) fn new(profile: &PoolProfile) -> Self {
        Self {
            min_idle: AtomicU32::new(profile.min_idle),
            max_idle: AtomicU32::new(profile.max_idle.unwrap_or(ANY)),
            idle_timeout: AtomicTime::new(profile.idle_timeout),
            max_lifetime: AtomicTime::new(profile.max_lifetime),
            checkout_timeout: AtomicTime::new(Some(profile.checkout_timeout)),
            leak_threshold: AtomicTime::new(profile.leak_threshold),
            slow_query: AtomicTime::new(profile.slow_query),
            version: AtomicU32::new(0),
        }
    }

    pub(crate) fn min_idle(&self) -> u32 {
        self.min_idle.load(Ordering::Relaxed)
    }

    pub(crate) fn max_idle(&self) -> Option<u32> {
        Some(self.max_idle.load(Ordering::Relaxed)).filter(|most| *most != ANY)
    }

    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout.read()
    }

    pub(crate) fn max_lifetime(&self) -> Option<Duration> {
        self.max_lifetime.read()
    }

    pub(crate) fn checkout_timeout(&self) -> Duration {
        self.checkout_timeout.read().unwrap_or(Duration::MAX)
    }

    pub(crate) fn leak_threshold(&self) -> Option<Duration> {
        self.leak_threshold.read()
    }

    pub(crate) fn slow_query(&self) -> Option<Duration> {
        self.slow_query.read()
    }

    pub(crate) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    /// All settings together, for a pool of this size.
    pub(crate) fn read(&self, max: u32) -> PoolSettings {
        PoolSettings {
            max,
            min_idle: self.min_idle(),
            max_idle: self.max_idle(),
            idle_timeout: self.idle_timeout(),
            max_lifetime: self.max_lifetime(),
            checkout_timeout: self.checkout_timeout(),
            leak_threshold: self.leak_threshold(),
            slow_query: self.slow_query(),
        }
    }

    /// Puts new settings in place. The caller has checked them.
    pub(crate) fn write(&self, settings: &PoolSettings) {
        self.min_idle.store(settings.min_idle, Ordering::Relaxed);
        let max_idle = settings.max_idle.unwrap_or(ANY);
        self.max_idle.store(max_idle, Ordering::Relaxed);
        self.idle_timeout.write(settings.idle_timeout);
        self.max_lifetime.write(settings.max_lifetime);
        self.checkout_timeout.write(Some(settings.checkout_timeout));
        self.leak_threshold.write(settings.leak_threshold);
        self.slow_query.write(settings.slow_query);
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// A time or none, in nanoseconds.
#[derive(Debug)]
struct AtomicTime(AtomicU64);

impl AtomicTime {
    fn new(time: Option<Duration>) -> Self {
        let this = Self(AtomicU64::new(NEVER));
        this.write(time);
        this
    }

    fn read(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            NEVER => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    fn write(&self, time: Option<Duration>) {
        let nanos = time.map_or(NEVER, |time| {
            u64::try_from(time.as_nanos()).unwrap_or(NEVER)
        });
        self.0.store(nanos, Ordering::Relaxed);
    }
}

/// The number that stands for "any number".
const ANY: u32 = u32::MAX;

/// The number that stands for "never": as nanoseconds, more than five hundred years.
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use db_config::Environment;

    /// req 3.37: every problem is named at once, with the expected value.
    #[test]
    fn every_problem_is_named() {
        let profile = PoolProfile::of(&Environment::Dev);
        let live = LiveSettings::new(&profile);
        let mut settings = live.read(profile.max);
        assert!(settings.problems(100).is_empty());
        settings.max = 0;
        settings.min_idle = 7;
        settings.max_idle = Some(3);
        settings.idle_timeout = Some(Duration::ZERO);
        settings.checkout_timeout = Duration::ZERO;
        assert_eq!(
            settings.problems(100),
            [
                "max is 0, expected 1 to the ceiling of 100",
                "min_idle is 7, expected 0 to the max of 0",
                "max_idle is 3, expected the min_idle of 7 or more",
                "idle_timeout is 0, expected a time",
                "checkout_timeout is 0, expected a time",
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let profile = PoolProfile::of(&Environment::Dev);
        let live = LiveSettings::new(&profile);
        let mut settings = live.read(4);
        assert_eq!((settings.max, settings.max_idle), (4, None));
        settings.max_idle = Some(3);
        settings.max_lifetime = None;
        settings.slow_query = Some(Duration::from_nanos(1));
        live.write(&settings);
        assert_eq!((live.read(4), live.version()), (settings, 1));
    }
}
