//! A handle to a live backend for other code, which does not disturb the holder.

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
    /// When the pool last cancelled a statement that ran too long: milliseconds since `made`, plus one; 0 for
    /// never.
    overran: AtomicU64,
    /// The task that used it last, while the guard of an open transaction holds it.
    guarded_by: Mutex<Option<Poller>>,
    made: Instant,
    /// The byte count at the first look that saw no new bytes, and the time of that look.
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

    /// Whether the server has an unanswered request.
    pub(crate) fn is_waiting(&self) -> bool {
        self.observed.is_waiting()
    }

    /// Where this task asked for it, if the task has a transaction open on it that was begun without a helper.
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

    /// Cancels the connection's statement on the server, if it may be cancelled.
    ///
    /// It never does so after the client has asked for a COMMIT that is not answered yet. Under synchronous
    /// replication a cancelled COMMIT reports success for changes that only the primary has.
    pub(crate) async fn cancel(&self) {
        let working = self.observed.is_working() || self.activity.is_unfinished();
        let committing = self.observed.is_committing() || self.activity.is_committing();
        if working && !committing && !self.observed.is_closed() {
            self.canceller.cancel().await;
        }
    }

    /// How long the server has left a request unanswered, measured from call to call.
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

    /// How long the server may be silent: as long as its own bounds let statements run, and a little longer.
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

    /// Closes the connection, whatever the server does.
    pub(crate) fn cut(&self, why: String) {
        self.steering.cut(why);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.steering.is_cut().is_some()
    }

    /// Whether its statement has run for longer than `timeout`, and the server does not bound it. It returns
    /// `true` at most once a second for one statement: a cancel request may be lost, and each one takes a
    /// connection.
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

    /// Notes that this poller's guard holds it, or that no guard holds it any more.
    pub(crate) fn guard(&self, poller: Option<Poller>) {
        *self
            .guarded_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = poller;
    }

    /// Whether the guard of this poller holds it, and no statement is running.
    pub(crate) fn is_guarded_by(&self, poller: Poller) -> bool {
        let guarded_by = *self
            .guarded_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        guarded_by == Some(poller) && !self.activity.is_unfinished()
    }

    /// Notes that somebody holds it from now on. The activity already names the holder.
    pub(crate) fn handed_out(&self, now: Instant) {
        let since = now.saturating_duration_since(self.made).as_millis() as u64 + 1;
        self.held_since.store(since, Ordering::Release);
    }

    /// Notes that nobody holds it any more. Returns how long it was held, if the hold had been reported as too
    /// long.
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
        // A statement of an earlier holder does not belong to this one.
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

    /// The hold at this moment, if it has lasted for `threshold` and was not returned here before.
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

/// How much longer than its statements the server may be silent. With one tick until the keeper notices the
/// silence, and another one until it acts, that makes five seconds at most.
const GRACE: Duration = Duration::from_secs(3);

/// After how many milliseconds the pool cancels an overlong statement again.
const AGAIN_MS: u64 = 1_000;
