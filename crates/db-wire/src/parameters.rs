//! The parameters that a server reports without being asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

type Parameter = (Box<str>, Box<str>);

/// The parameters that a server has reported, and the first values of the parameters that clients set.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    current: Mutex<Vec<Parameter>>,
    /// The parameters that clients set, as they were when the session was ready for its first holder.
    first: OnceLock<Vec<Parameter>>,
    /// Whether the server has reported another value for one of these.
    has_changed: AtomicBool,
}

impl Parameters {
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let current = self.lock();
        let found = current.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| value.to_string())
    }

    /// Remembers the parameters that clients set, with their values now. Only the first call counts.
    pub(crate) fn remember(&self) {
        let mut first = self.lock().clone();
        first.retain(|(name, _)| SET_BY_CLIENTS.contains(&&**name));
        let _first = self.first.set(first);
    }

    /// The parameters whose values differ from the remembered ones, with the remembered values. It reads only one
    /// atomic if none differs.
    pub(crate) fn changed(&self) -> Vec<(String, String)> {
        if !self.has_changed.load(Ordering::Acquire) {
            return Vec::new();
        }
        // This comes before the comparison, so that a report in between sets the flag again.
        self.has_changed.store(false, Ordering::Release);
        let first = self.first.get().map(Vec::as_slice);
        let differs =
            |(name, value): &&Parameter| self.value(name).is_some_and(|now| now != **value);
        let changed = first.unwrap_or_default().iter().filter(differs);
        let changed: Vec<_> = changed
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        if !changed.is_empty() {
            self.has_changed.store(true, Ordering::Release);
        }
        changed
    }

    pub(crate) fn report(&self, name: &str, value: &str) {
        let differs = |(known, first): &Parameter| **known == *name && **first != *value;
        let first = self.first.get();
        if first.is_some_and(|first| first.iter().any(differs)) {
            self.has_changed.store(true, Ordering::Release);
        }
        let mut current = self.lock();
        let is_it = |(known, _): &Parameter| **known == *name;
        if let Some(place) = current.iter().position(is_it) {
            current[place].1 = value.into();
        } else if current.len() < MAX_PARAMETERS {
            current.push((name.into(), value.into()));
        }
    }

    // A panic while the lock is held leaves complete values behind.
    fn lock(&self) -> MutexGuard<'_, Vec<Parameter>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parameters that a server reports and that its clients set. PgBouncer keeps them for each client; IntervalStyle
/// only since 1.20.
const SET_BY_CLIENTS: [&str; 6] = [
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
];

/// A server reports some fifteen parameters. One that never stops must not fill the memory.
const MAX_PARAMETERS: usize = 256;
