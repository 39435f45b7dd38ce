//! A backend: one live connection with everything the pool knows about it.
//!
//! bb8 stores a backend while nobody holds it; a [`Connection`](crate::Connection) carries it while
//! somebody does. Wherever a backend is dropped, the pool ends its session in the background. Its place
//! in the pool becomes free only when the server has closed it.

pub(crate) mod close_reason;
pub(crate) mod closing;
pub(crate) mod denial;
mod detach;
mod dropped;
pub(crate) mod hold;
pub(crate) mod live_backend;
pub(crate) mod long_hold;
pub(crate) mod poller;
pub(crate) mod reservation;
pub(crate) mod reset;
pub(crate) mod slots;
pub(crate) mod store;
pub(crate) mod verdict;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, TransactionManager,
};
use tokio::time::Instant;

use crate::backend::close_reason::CloseReason;
use crate::backend::live_backend::LiveBackend;
use crate::backend::reservation::Reservation;
use crate::backend::reset::SessionReset;
use crate::backend::verdict::Verdict;
use crate::connect::cancel_token::CancelToken;
use crate::connect::connector::HandBack;
use crate::connect::dialler::Dialled;
use crate::generation::Member;
use crate::profile::{PoolProfile, Reset};
use crate::queue::gate::Permit;
use crate::registry::Registry;
use crate::registry::Unanswered;
use crate::telemetry::observer::{Activity, Observer};
use crate::telemetry::statement_span::StatementSpans;
use crate::telemetry::watch;
use db_wire::{Observed, TransactionStatus};

/// One live connection.
pub(crate) struct Backend {
    /// Taken only when the backend is dropped or detached.
    conn: Option<AsyncPgConnection>,
    hand_back: Option<HandBack>,
    reservation: Option<Reservation>,
    observed: Arc<Observed>,
    activity: Arc<Activity>,
    live: Arc<LiveBackend>,
    registry: Arc<Registry>,
    /// A second handle of the observer in diesel's slot. It is the only handle left if a holder has
    /// replaced the observer.
    in_slot: Arc<()>,
    reset: Option<SessionReset>,
    /// A holder's settings stay for the next holder.
    keeps_settings: bool,
    born: Instant,
    /// When its lifetime ends, and after how many uses. Each is shortened at random by up to a quarter:
    /// connections that are made together must not all end together.
    ends: Option<Instant>,
    most_uses: u32,
    /// The share of its lifetime that it keeps, and the version of the settings from which `ends` was
    /// computed.
    kept: f64,
    settings: u32,
    /// When it was last handed out.
    held_since: Instant,
    idle_since: Instant,
    uses: u32,
    /// Until when it may stay after its credentials have been replaced.
    spared_until: Option<Instant>,
    close_reason: Option<CloseReason>,
    /// Present while the pool waits for the answer to a ping.
    ping: Option<Unanswered>,
}

impl Backend {
    pub(crate) fn new(
        dialled: Dialled,
        reservation: Reservation,
        profile: &PoolProfile,
        registry: Arc<Registry>,
    ) -> Self {
        let Dialled {
            mut conn,
            link,
            canceller,
            phases,
        } = dialled;
        registry.connected(phases);
        let spans = StatementSpans::new(
            Arc::clone(&registry.name),
            &reservation.member.generation().endpoint,
            profile.slow_query_binds,
        );
        let activity = Arc::new(Activity::new(spans));
        let in_slot = Arc::new(());
        conn.set_instrumentation(Observer::new(
            Arc::clone(&link.observed),
            Arc::clone(&link.steering),
            Arc::clone(&activity),
            CancelToken::new(canceller.clone()),
            Arc::clone(&in_slot),
        ));
        link.steering
            .set_watcher(watch::watcher(profile, &registry, &activity));
        // The state after the set-up is the configured state.
        link.observed.session_is_clean();
        link.observed.forget_errors_of_set_up();
        link.observed.remember_parameters();
        let now = Instant::now();
        let kept = 1.0 - fastrand::f64() / 4.0;
        let ends = end_of_life(&registry, now, kept);
        registry.established.fetch_add(1, Ordering::AcqRel);
        let live = LiveBackend::new(
            canceller,
            Arc::clone(&link.observed),
            Arc::clone(&activity),
            Arc::clone(&link.steering),
            reservation.member.generation().number,
        );
        Self {
            conn: Some(conn),
            hand_back: Some(link.hand_back),
            reservation: Some(reservation),
            observed: link.observed,
            activity,
            live: Arc::new(live),
            kept,
            settings: registry.settings.version(),
            held_since: now,
            registry,
            in_slot,
            reset: SessionReset::of(link.steering.rules().as_deref(), profile.reset),
            keeps_settings: profile.reset == Reset::Never,
            born: now,
            ends,
            most_uses: match profile.max_uses {
                0 => u32::MAX,
                full => full - (f64::from(full) * (1.0 - kept)) as u32,
            },
            idle_since: now,
            uses: 0,
            spared_until: None,
            close_reason: None,
            ping: None,
        }
    }

    #[expect(clippy::expect_used, reason = "taken in `drop` alone")]
    pub(crate) fn conn(&self) -> &AsyncPgConnection {
        self.conn
            .as_ref()
            .expect("the connection is there until the drop")
    }

    #[expect(clippy::expect_used, reason = "taken in `drop` alone")]
    pub(crate) fn conn_mut(&mut self) -> &mut AsyncPgConnection {
        self.conn
            .as_mut()
            .expect("the connection is there until the drop")
    }

    pub(crate) fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    pub(crate) fn live(&self) -> &Arc<LiveBackend> {
        &self.live
    }

    /// Adopts the settings that are in force now, if they have changed.
    pub(crate) fn keep_up(&mut self) {
        let version = self.registry.settings.version();
        if self.settings != version {
            self.settings = version;
            self.ends = end_of_life(&self.registry, self.born, self.kept);
        }
    }

    /// How long its holder has had it.
    pub(crate) fn held_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.held_since)
    }

    pub(crate) fn mark_for_closing(&mut self, reason: CloseReason) {
        self.close_reason.get_or_insert(reason);
    }

    /// Marks it for closing until it answers, so that it is closed if the code that asks is dropped
    /// meanwhile.
    pub(crate) fn mark_until_it_answers(&mut self) {
        self.mark_for_closing(CloseReason::Silent);
        self.ping = Some(Unanswered::new(&self.registry));
    }

    pub(crate) fn unmark(&mut self) {
        self.close_reason = None;
        self.ping = None;
    }

    /// Lets it stay until then after its credentials have been replaced.
    pub(crate) fn spare_until(&mut self, until: Instant) {
        self.spared_until = Some(until);
    }

    /// Whether diesel began a query on it whose future was dropped or is not finished yet.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.activity.is_unfinished()
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.close_reason
    }

    pub(crate) fn member(&self) -> Option<&Member> {
        self.reservation
            .as_ref()
            .map(|reservation| &reservation.member)
    }

    pub(crate) fn idle_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.idle_since)
    }

    /// Why this backend must not stay in the store, judged by its age, its generation and its socket.
    pub(crate) fn overdue(&self, now: Instant) -> Option<CloseReason> {
        if self.close_reason.is_some() {
            return self.close_reason;
        }
        if self.observed.is_closed() || self.observed.is_spoilt() {
            return Some(CloseReason::Lost);
        }
        if self.observed.is_outdated() {
            self.registry.outdate(now);
        }
        if self.registry.is_outdated(self.born) {
            return Some(CloseReason::Outdated);
        }
        if self.registry.is_closed() {
            return Some(CloseReason::PoolClosed);
        }
        let worn = if self.is_retired(now) {
            CloseReason::Retired
        } else if self.ends.is_some_and(|end| now >= end) {
            CloseReason::Lifetime
        } else if self.uses >= self.most_uses {
            CloseReason::Uses
        } else {
            return None;
        };
        // While no login works, the pool keeps it: an old connection is better than none.
        (!self.registry.spares()).then_some(worn)
    }

    /// Whether its credentials have been replaced and its grace in the drain is over.
    fn is_retired(&self, now: Instant) -> bool {
        let is_current = |member| self.registry.generations.is_current(member);
        !self.member().is_some_and(is_current) && self.spared_until.is_none_or(|until| now >= until)
    }

    /// Whether it is surplus since the pool has shrunk, and must be dropped.
    pub(crate) fn leave_if_surplus(&mut self) -> bool {
        self.reservation
            .as_mut()
            .is_some_and(|reservation| reservation.slot.leave_if_surplus())
    }

    /// Keeps the permit of its last holder until the server has closed it.
    pub(crate) fn keep_until_closed(&mut self, permit: Permit) {
        if let Some(reservation) = &mut self.reservation {
            reservation.permit = Some(permit);
        }
    }

    /// Notes who holds it now, and how long that caller has waited.
    pub(crate) fn check_out(
        &mut self,
        caller: &'static std::panic::Location<'static>,
        waited: Duration,
        now: Instant,
    ) {
        self.uses = self.uses.saturating_add(1);
        self.held_since = now;
        self.observed.forget_error();
        if !self.keeps_settings {
            self.observed.forget_own_timeout();
        }
        self.activity.hand_out(caller, waited);
        self.live.handed_out(now.into_std());
    }

    /// Decides whether it may be handed out again. It must not block, because it runs in a `Drop`.
    pub(crate) fn check_in(&mut self, now: Instant) -> Verdict {
        self.keep_up();
        if let Some(held) = self.live.returned() {
            long_hold::report_return(&self.registry.name, self.live.call_site(), held);
        }
        self.activity.forget_holder();
        denial::report(&self.registry, &self.observed, self.member());
        match (self.judge(now), &self.reset) {
            (Verdict::Keep, Some(reset)) => reset.verdict(&self.observed),
            (verdict, _) => verdict,
        }
    }

    /// Restores the configured state of the session. Returns `false` if the backend must not be used
    /// again.
    pub(crate) async fn reset(&mut self) -> bool {
        let (Some(reset), Some(conn)) = (&self.reset, &mut self.conn) else {
            return true;
        };
        reset.run(conn, &self.observed, &self.registry).await
    }

    /// Whether it still has the connection that it was made with. A holder can swap that for another one,
    /// about which the pool knows nothing.
    ///
    /// Must not be called while a query is unfinished, because diesel panics then.
    fn has_its_own_connection(&mut self) -> bool {
        let in_slot = Arc::clone(&self.in_slot);
        Observer::of(self.conn_mut()).is_some_and(|observer| observer.is_the_one_of(&in_slot))
    }

    /// Makes the same decision without a look at the state of the session.
    pub(crate) fn judge(&mut self, now: Instant) -> Verdict {
        if std::thread::panicking() {
            return Verdict::Discard(CloseReason::Discarded);
        }
        if let Some(reason) = self.close_reason {
            return Verdict::Discard(reason);
        }
        if self.observed.is_closed() {
            return Verdict::Discard(CloseReason::Lost);
        }
        if Arc::strong_count(&self.in_slot) < 2 {
            return Verdict::Discard(CloseReason::Unobserved);
        }
        // It checks first what diesel began, and then what the wire saw, because a request may still be
        // on its way from one to the other.
        if self.activity.is_unfinished() {
            return Verdict::Discard(CloseReason::Busy);
        }
        if !self.has_its_own_connection() {
            return Verdict::Discard(CloseReason::Unobserved);
        }
        if self.observed.is_working() {
            return Verdict::Settle;
        }
        if self.observed.transaction_status() != TransactionStatus::Idle
            || AnsiTransactionManager::is_broken_transaction_manager(self.conn_mut())
        {
            return Verdict::Discard(match self.activity.holder().attempt {
                // A helper always ends its transaction, unless its future is dropped.
                Some(_attempt) => CloseReason::Abandoned,
                None => CloseReason::InTransaction,
            });
        }
        match self.overdue(now) {
            Some(reason) => Verdict::Discard(reason),
            None => {
                self.idle_since = now;
                Verdict::Keep
            }
        }
    }
}

/// When a backend's life ends if it was made at `born` and keeps this share of its lifetime.
fn end_of_life(registry: &Registry, born: Instant, kept: f64) -> Option<Instant> {
    let full = registry.settings.max_lifetime()?;
    born.checked_add(full.mul_f64(kept))
}
