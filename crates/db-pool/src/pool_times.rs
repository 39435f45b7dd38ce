//! How long the actions of a pool's callers and connections took.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::connect::phases::ConnectPhases;
use crate::time_buckets::{TimeBuckets, TimeHistogram};

/// The times of one pool since it began, by buckets.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Times {
    /// From asking for a connection to having it, including the queue, connecting and a ping. Only callers that
    /// got a connection count.
    pub checked_out: TimeBuckets,
    /// From having a connection to giving it back.
    pub held: TimeBuckets,
    /// From the resolution of the host's name to a ready session.
    pub connected: TimeBuckets,
    /// The parts of `connected` by their names: `dns`, `tcp`, `tls`, `authentication` and `set_up`.
    pub phases: [(&'static str, TimeBuckets); 5],
    /// Statements that succeeded, each until its last row. None are counted if `statement_statistics` is off.
    pub ran: TimeBuckets,
    /// Statements that failed, by SQLSTATE. After 32 codes, all others count as `_OTHER`.
    pub failed: Vec<(Arc<str>, TimeBuckets)>,
}

/// One measured time.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TimeEvent<'e> {
    /// A caller has got its connection.
    CheckedOut(Duration),
    /// A holder has given its connection back.
    Held(Duration),
    /// A connection was made.
    Connected(Duration),
    /// A statement has ended, with this SQLSTATE if it failed.
    Ran(Duration, Option<&'e SqlState>),
}

/// Receives every time of a pool where it is measured. It must neither block nor take long.
pub type TimeListener = Box<dyn Fn(TimeEvent<'_>) + Send + Sync>;

/// Where times are recorded.
#[derive(Default)]
pub(crate) struct PoolTimes {
    /// Without callers that did not wait, which are counted elsewhere.
    waited: TimeHistogram,
    held: TimeHistogram,
    connected: TimeHistogram,
    phases: [TimeHistogram; 5],
    ran: TimeHistogram,
    failed: Mutex<Vec<(Arc<str>, TimeHistogram)>>,
    listener: OnceLock<TimeListener>,
}

impl PoolTimes {
    /// Sets the listener, unless there is one. Returns whether it was set.
    pub(crate) fn listen(&self, listener: TimeListener) -> bool {
        self.listener.set(listener).is_ok()
    }

    pub(crate) fn checked_out(&self, waited: Duration) {
        if !waited.is_zero() {
            self.waited.record(waited);
        }
        self.tell(TimeEvent::CheckedOut(waited));
    }

    pub(crate) fn held(&self, time: Duration) {
        self.held.record(time);
        self.tell(TimeEvent::Held(time));
    }

    pub(crate) fn connected(&self, phases: &ConnectPhases) {
        self.connected.record(phases.total());
        for (histogram, (_, time)) in self.phases.iter().zip(named(phases)) {
            histogram.record(time);
        }
        self.tell(TimeEvent::Connected(phases.total()));
    }

    pub(crate) fn ran(&self, time: Duration, sqlstate: Option<&SqlState>) {
        match sqlstate {
            None => self.ran.record(time),
            Some(sqlstate) => self.failed(time, sqlstate.code()),
        }
        self.tell(TimeEvent::Ran(time, sqlstate));
    }

    fn failed(&self, time: Duration, code: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = failed.iter().any(|(known, _)| **known == *code);
        let code = match is_known || failed.len() < MAX_CODES {
            true => code,
            false => OTHER,
        };
        match failed.iter().find(|(known, _)| **known == *code) {
            Some((_, times)) => times.record(time),
            None => {
                let times = TimeHistogram::default();
                times.record(time);
                failed.push((code.into(), times));
            }
        }
    }

    /// All times so far, of a pool that has handed out `handed_out` connections.
    pub(crate) fn read(&self, handed_out: u64) -> Times {
        let names = named(&ConnectPhases::default()).map(|(name, _)| name);
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        Times {
            checked_out: self.waited.read_among(handed_out),
            held: self.held.read(),
            connected: self.connected.read(),
            phases: std::array::from_fn(|at| (names[at], self.phases[at].read())),
            ran: self.ran.read(),
            failed: failed
                .iter()
                .map(|(code, times)| (Arc::clone(code), times.read()))
                .collect(),
        }
    }

    fn tell(&self, event: TimeEvent<'_>) {
        if let Some(listener) = self.listener.get() {
            listener(event);
        }
    }
}

fn named(phases: &ConnectPhases) -> [(&'static str, Duration); 5] {
    [
        ("dns", phases.dns),
        ("tcp", phases.tcp),
        ("tls", phases.tls),
        ("authentication", phases.authentication),
        ("set_up", phases.set_up),
    ]
}

impl std::fmt::Debug for PoolTimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolTimes").finish_non_exhaustive()
    }
}

/// How many codes are counted separately. A function can raise any code.
const MAX_CODES: usize = 32;

/// OpenTelemetry's name for the rest.
const OTHER: &str = "_OTHER";

#[cfg(test)]
mod tests {
    use super::*;

    /// req 0.14: failures are kept by code, and a flood of codes is bounded.
    #[test]
    fn failures_are_kept_by_code_and_bounded() {
        let times = PoolTimes::default();
        let ms = Duration::from_millis;
        times.ran(ms(1), None);
        for n in 0..100 {
            let code = SqlState::from_code(&format!("ZZ{n:03}"));
            times.ran(ms(2), Some(&code));
        }
        times.ran(ms(3), Some(&SqlState::from_code("ZZ000")));
        let read = times.read(0);
        assert_eq!((read.ran.count(), read.failed.len()), (1, MAX_CODES + 1));
        assert_eq!((&*read.failed[0].0, read.failed[0].1.count()), ("ZZ000", 2));
        let other = &read.failed[MAX_CODES];
        assert_eq!((&*other.0, other.1.count()), (OTHER, 68));
    }

    /// A listener gets every time, even times that count as zero.
    #[test]
    fn a_listener_hears_of_every_time() {
        let times = PoolTimes::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&heard);
        let listening = times.listen(Box::new(move |event| {
            listener.lock().unwrap().push(format!("{event:?}"));
        }));
        assert!(listening && !times.listen(Box::new(|_| {})));
        times.checked_out(Duration::ZERO);
        times.held(Duration::from_secs(1));
        times.connected(&ConnectPhases::default());
        times.ran(Duration::ZERO, Some(&SqlState::QUERY_CANCELED));
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 4, "{heard:?}");
        assert!(
            heard[1] == "Held(1s)" && heard[3].contains("57014"),
            "{heard:?}"
        );
        assert_eq!(times.read(5).checked_out.counts[0], 5);
    }
}
