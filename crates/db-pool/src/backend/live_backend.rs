//! What others may know of a backend that is alive, and do to it, without disturbing its holder.

use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::hold::{Hold, shown};
use crate::backend::poller::Poller;
use crate::connect::canceller::Canceller;
use crate::profile::PoolProfile;
use crate::telemetry::observer::Activity;
use db_wire::{Observed, Steering, TransactionStatus};

/// Who holds a backend, since when, and how to stop it.
pub(crate) struct LiveBackend {
    canceller: Canceller,
    observed: Arc<Observed>,
    activity: Arc<Activity>,
    generation: u64,
    /// Milliseconds since `made`, plus one; 0 while nobody holds it.
    held_since: AtomicU64,
    /// The `held_since` of the last hold that was reported for its length.
    reported: AtomicU64,
    /// When it was last asked to end a statement that overran: milliseconds since `made`, plus one; 0 for never.
    overran: AtomicU64,
    /// Who has used it last, while it is in the guard of an open transaction.
    guarded_by: Mutex<Option<Poller>>,
    made: Instant,
    /// How much had passed on it when it was last seen to be no more than before, and when that was.
    quiet_since: Mutex<(u64, Instant)>,
    steering: Arc<Steering>,
}

impl LiveBackend {
    pub(crate) fn new(
        canceller: Canceller,
        observed: Arc<Observed>,
        activity: Arc<Activity>,
        steering: Arc<Steering>,
        generation: u64,
    ) -> Self {
        Self {
            quiet_since: Mutex::new((0, Instant::now())),
            steering,
            canceller,
            observed,
            activity,
            generation,
            held_since: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            overran: AtomicU64::new(0),
            guarded_by: Mutex::default(),
            made: Instant::now(),
        }
    }

    pub(crate) fn canceller(&self) -> &Canceller {
        &self.canceller
    }

    /// Whether the server was asked something that it has not answered.
    pub(crate) fn is_waiting(&self) -> bool {
        self.observed.is_waiting()
    }

    /// Where this task asked for it, if it has a transaction open there that no helper has begun.
    pub(crate) fn plain_transaction_of(
        &self,
        task: tokio::task::Id,
    ) -> Option<&'static Location<'static>> {
        let holder = self.activity.holder();
        let is_its = self.is_held() && holder.task == Some(task) && holder.attempt.is_none();
        let status = self.observed.transaction_status();
        let is_open = matches!(
            status,
            TransactionStatus::InTransaction | TransactionStatus::Failed
        );
        holder.caller.filter(|_| is_its && is_open)
    }

    /// The number of the generation of credentials it was made with.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
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

    /// For how long the server has answered nothing to what it was asked, seen from one call to the next.
    pub(crate) fn silent_for(&self) -> Duration {
        let passed = self.observed.bytes_received() + self.observed.bytes_sent();
        let now = Instant::now();
        let mut quiet = self
            .quiet_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if quiet.0 != passed || !self.observed.is_waiting() || self.observed.is_closed() {
            *quiet = (passed, now);
        }
        now.saturating_duration_since(quiet.1)
    }

    /// How long the server may be silent: as long as its statements may take by what bounds them there, and a
    /// little longer.
    pub(crate) fn may_be_silent_for(
        &self,
        profile: &PoolProfile,
        statement: Option<Duration>,
    ) -> Option<Duration> {
        let bound = match (statement, self.observed.own_timeout()) {
            (Some(pools), None) => Some(pools),
            (Some(pools), Some(Some(own))) => Some(pools.max(own)),
            _ => None,
        };
        match bound {
            Some(bound) => Some(bound.saturating_add(GRACE)),
            None => profile.answer_timeout,
        }
    }

    /// Ends it, whatever its server does.
    pub(crate) fn cut(&self, why: String) {
        self.steering.cut(why);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.steering.is_cut().is_some()
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

    /// It is in the guard of somebody, or in nobody's any more.
    pub(crate) fn guard(&self, poller: Option<Poller>) {
        *self
            .guarded_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = poller;
    }

    /// Whether it is in the guard of that one, and no statement is under way.
    pub(crate) fn is_guarded_by(&self, poller: Poller) -> bool {
        let guarded_by = *self
            .guarded_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        guarded_by == Some(poller) && !self.activity.is_unfinished()
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
            task: self.activity.holder().task,
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

/// How much longer than its statements the server may be silent. With a tick before it is seen to be, and another
/// until that is looked at, it is five seconds at most.
const GRACE: Duration = Duration::from_secs(3);

/// How soon a statement that overran is cancelled once more, in milliseconds.
const AGAIN_MS: u64 = 1_000;
