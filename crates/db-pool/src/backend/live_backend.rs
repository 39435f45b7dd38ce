//! What others may know of a backend that is alive, and do to it, without disturbing its holder.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::backend::hold::{Hold, shown};
use crate::connect::canceller::Canceller;
use crate::telemetry::observer::Activity;
use db_wire::Observed;

/// Who holds a backend, since when, and how to stop it.
pub(crate) struct LiveBackend {
    canceller: Canceller,
    observed: Arc<Observed>,
    activity: Arc<Activity>,
    /// Milliseconds since `made`, plus one; 0 while nobody holds it.
    held_since: AtomicU64,
    /// The `held_since` of the last hold that was reported for its length.
    reported: AtomicU64,
    /// When it was last asked to end a statement that overran: milliseconds since `made`, plus one; 0 for never.
    overran: AtomicU64,
    made: Instant,
}

impl LiveBackend {
    pub(crate) fn new(
        canceller: Canceller,
        observed: Arc<Observed>,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            canceller,
            observed,
            activity,
            held_since: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            overran: AtomicU64::new(0),
            made: Instant::now(),
        }
    }

    pub(crate) fn canceller(&self) -> &Canceller {
        &self.canceller
    }

    /// Whether its socket is open.
    pub(crate) fn is_alive(&self) -> bool {
        !self.observed.is_closed()
    }

    /// Stops on the server what the connection is doing, if it may be stopped.
    ///
    /// Never while a COMMIT is on its way, from the moment the client asked for it: under synchronous
    /// replication a cancelled COMMIT reports success for what only the primary has.
    pub(crate) async fn cancel(&self) {
        let working = self.observed.is_working() || self.activity.is_unfinished();
        let committing = self.observed.is_committing() || self.activity.is_committing();
        if working && !committing && !self.observed.is_closed() {
            self.canceller.cancel().await;
        }
    }

    /// Whether its statement has been at work for so long without a bound of the server's. Of one statement that is
    /// said once a second at most: a cancel request may be lost, and each takes a connection.
    pub(crate) fn overruns(&self, timeout: Duration) -> bool {
        if !self.observed.is_working_unbounded() {
            return false;
        }
        let Some(sent) = self.observed.last_statement().sent_at() else {
            return false;
        };
        let stamp = |at: Instant| at.saturating_duration_since(self.made).as_millis() as u64 + 1;
        let (sent, now) = (stamp(sent), stamp(Instant::now()));
        let last = self.overran.load(Ordering::Acquire);
        let said_lately = sent <= last && now < last + AGAIN_MS;
        let is_over = u128::from(now - sent) >= timeout.as_millis();
        if !is_over || said_lately {
            return false;
        }
        self.overran.store(now, Ordering::Release);
        true
    }

    /// Somebody holds it from now on; the activity names the holder already.
    pub(crate) fn handed_out(&self, now: Instant) {
        let since = now.saturating_duration_since(self.made).as_millis() as u64 + 1;
        self.held_since.store(since, Ordering::Release);
    }

    /// Nobody holds it any more. Returns for how long it was held, if that had been reported as long.
    pub(crate) fn returned(&self) -> Option<Duration> {
        let stamp = self.held_since.swap(0, Ordering::AcqRel);
        (stamp > 0 && stamp == self.reported.load(Ordering::Acquire)).then(|| self.since(stamp))
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held_since.load(Ordering::Acquire) > 0
    }

    /// Where its holder, or its last one, asked for it.
    pub(crate) fn call_site(&self) -> Option<&'static Location<'static>> {
        self.activity.holder().caller
    }

    /// The hold at this moment.
    pub(crate) fn hold(&self) -> Option<Hold> {
        let stamp = self.held_since.load(Ordering::Acquire);
        let held = (stamp > 0).then(|| self.since(stamp))?;
        let last = self.observed.last_statement().read();
        // What an earlier holder sent is not this one's.
        let last = last.filter(|(_, sent)| *sent >= self.began(stamp));
        let working = self.observed.is_working() || self.activity.is_unfinished();
        let running = working.then(|| {
            last.as_ref()
                .map_or(Duration::ZERO, |(_, sent)| whole_ms(sent.elapsed()))
        });
        Some(Hold {
            call_site: self.call_site()?,
            held,
            label: self.activity.holder().label,
            transaction: self.observed.transaction_status(),
            running,
            statement: last.and_then(|(text, _)| shown(&text)),
        })
    }

    /// The hold at this moment if it has lasted for so long and is asked about for the first time.
    pub(crate) fn newly_long(&self, threshold: Duration) -> Option<Hold> {
        let stamp = self.held_since.load(Ordering::Acquire);
        let long = stamp > 0 && self.since(stamp) >= threshold;
        if !long || self.reported.swap(stamp, Ordering::AcqRel) == stamp {
            return None;
        }
        self.hold().filter(|hold| hold.held >= threshold)
    }

    fn began(&self, stamp: u64) -> Instant {
        self.made + Duration::from_millis(stamp.saturating_sub(1))
    }

    fn since(&self, stamp: u64) -> Duration {
        whole_ms(self.began(stamp).elapsed())
    }
}

fn whole_ms(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis() as u64)
}

/// How soon a statement that overran is cancelled once more, in milliseconds.
const AGAIN_MS: u64 = 1_000;
