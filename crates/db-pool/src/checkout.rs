//! Checkout: from passing the gate to holding a connection.

pub(crate) mod connection;
pub(crate) mod diagnosis;
pub(crate) mod nested;
pub(crate) mod validate;

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::backend::Backend;
use crate::backend::lease::Lease;
use crate::backend::place::Place;
use crate::backend::store::Stored;
use crate::checkout::connection::Connection;
use crate::checkout::diagnosis::{Queued, Stage};
use crate::connect::backoff::{Attempt, NotNow, Urge};
use crate::error::{ConnectError, Failure, PoolError};
use crate::pool::Shared;
use crate::queue::gate::{Barred, Permit};
use crate::queue::line::{Coming, Turn};
use crate::status::Totals;

impl Shared {
    /// Hands out a connection within this time, or says why not; zero is what can be had at once.
    ///
    /// An attempt to connect that a caller began goes on when the caller gives up, and what it makes is
    /// parked: a server slower than every caller's patience would otherwise never be reached.
    pub(crate) async fn checkout(
        self: Arc<Self>,
        patience: Duration,
        caller: &'static Location<'static>,
    ) -> Result<Connection, PoolError> {
        let arrived = Instant::now();
        let deadline = deadline(arrived, patience);
        let queued = Queued::at(arrived, &self.registry);
        let (permit, now) = match nested::outer(&self.registry) {
            Some(outer) => (self.enter_nested(outer, caller)?, arrived),
            None => match self.gate.try_enter() {
                // No time has passed that would be worth another look at the clock.
                Ok(permit) => (permit, arrived),
                Err(_queue) => match self.gate.enter(deadline).await {
                    Ok(permit) => (permit, Instant::now()),
                    Err(barred) => return Err(self.barred(barred, &queued)),
                },
            },
        };
        self.hand_out(permit, queued, now, deadline, caller).await
    }

    /// The same for a caller that does not queue.
    pub(crate) async fn checkout_at_once(
        self: Arc<Self>,
        caller: &'static Location<'static>,
    ) -> Result<Connection, PoolError> {
        let arrived = Instant::now();
        let patience = self.profile.checkout_timeout;
        let deadline = deadline(arrived, patience);
        let queued = Queued::at(arrived, &self.registry);
        match self.gate.try_enter() {
            Ok(permit) => {
                self.hand_out(permit, queued, arrived, deadline, caller)
                    .await
            }
            Err(barred) => Err(self.barred(barred, &queued)),
        }
    }

    /// Hands out what is at hand, or looks for more. The looking is in a box: a future is copied each time
    /// that it is passed on, and most callers never need this one.
    async fn hand_out(
        self: Arc<Self>,
        permit: Permit,
        queued: Queued,
        now: Instant,
        deadline: Instant,
        caller: &'static Location<'static>,
    ) -> Result<Connection, PoolError> {
        let first = match self.registry.line.is_empty() {
            true => self.take_idle(),
            false => None,
        };
        match first {
            Some(stored) if self.is_fresh(&stored, now) => {
                Ok(Connection::new(stored, permit, self, caller, &queued, now))
            }
            first => Box::pin(self.find(first, permit, queued, deadline, caller)).await,
        }
    }

    /// Finds or makes a connection for a caller that has passed the gate; `first` is one that may do.
    async fn find(
        self: Arc<Self>,
        first: Option<Stored>,
        permit: Permit,
        queued: Queued,
        deadline: Instant,
        caller: &'static Location<'static>,
    ) -> Result<Connection, PoolError> {
        let registry = Arc::clone(&self.registry);
        let mut turn = Turn::new(&registry, permit.number());
        let mut dialling: Option<oneshot::Receiver<ConnectError>> = None;
        // Whether a connection was made for this caller, and went to an older one.
        let mut given_away = false;
        if let Some(stored) = first
            && let Some(fit) = self.proved(stored, deadline).await
        {
            return Ok(Connection::new(
                fit,
                permit,
                self,
                caller,
                &queued,
                Instant::now(),
            ));
        }
        let listener = registry.changes.listen();
        loop {
            let mut changed = std::pin::pin!(listener.next());
            changed.as_mut().enable();
            if Instant::now() < deadline
                && let Some(fit) = self.fit(&mut turn, deadline).await
            {
                return Ok(Connection::new(
                    fit,
                    permit,
                    self,
                    caller,
                    &queued,
                    Instant::now(),
                ));
            }
            if self.registry.is_closed() {
                return Err(self.closed());
            }
            let mut again_at = None;
            let dials = !given_away || registry.line.is_short_of_connections();
            if dialling.is_none() && dials {
                match self.dial_in_background(Urge::Caller) {
                    Ok(report) => dialling = Some(report),
                    Err(not_now) => {
                        // Nothing lives and nothing will for now: told at once what the last failure was.
                        if let Some(source) = self.backoff.refusal()
                            && self.is_hopeless()
                        {
                            return Err(PoolError::Connect {
                                pool: self.name(),
                                source,
                            });
                        }
                        again_at = not_now.until();
                    }
                }
            }
            tokio::select! {
                biased;
                () = changed => {}
                failure = failure_of(&mut dialling), if dialling.is_some() => {
                    dialling = None;
                    given_away = failure.is_none();
                    // While a connection lives there is hope for this caller too: during a rotation
                    // the old credentials fail, and the connections made with them work on.
                    if let Some(source) = failure.filter(ConnectError::is_permanent)
                        && self.is_hopeless()
                    {
                        return Err(PoolError::Connect { pool: self.name(), source });
                    }
                }
                () = sleep_until(again_at.unwrap_or(deadline)), if again_at.is_some() => {}
                () = sleep_until(deadline) => return Err(self.timed_out(&queued, Stage::Connecting)),
                () = self.registry.closing.cancelled() => return Err(self.closed()),
            }
            if Instant::now() >= deadline {
                return Err(self.timed_out(&queued, Stage::Connecting));
            }
        }
    }

    /// Whether no connection lives that could come back, and no new credentials are being proved.
    pub(crate) fn is_hopeless(&self) -> bool {
        let alive = |lease: &Arc<Lease>| lease.is_alive();
        self.registry.proving.load(Ordering::Acquire) == 0
            && !self.registry.leases().iter().any(alive)
    }

    /// How many backends are idle.
    pub(crate) fn idle(&self) -> u32 {
        self.store.idle()
    }

    /// The idle backend that was returned last.
    pub(crate) fn take_idle(&self) -> Option<Stored> {
        self.store.take()
    }

    /// The first idle backend that may be handed out, as long as there is time to look.
    async fn fit(self: &Arc<Self>, turn: &mut Turn<'_>, deadline: Instant) -> Option<Stored> {
        while let Some(stored) = turn.take(self) {
            let fit = self.proved(stored, deadline).await;
            if fit.is_some() || Instant::now() >= deadline {
                return fit;
            }
        }
        None
    }

    /// Begins to connect, if there is room for one more connection and an attempt may begin now.
    ///
    /// The receiver gets the failure; it is closed without one when the connection has been stored.
    pub(crate) fn dial_in_background(
        self: &Arc<Self>,
        urge: Urge,
    ) -> Result<oneshot::Receiver<ConnectError>, NotNow> {
        let (attempt, slot) = self.backoff.begin(urge, || self.slots.take())?;
        let place = Place::new(slot, self.registry.generations.join());
        let coming = Coming::new(&self.registry);
        let (report, reported) = oneshot::channel();
        self.registry.spawn(
            Dial {
                shared: Arc::clone(self),
                attempt,
                place,
                coming,
                report,
            }
            .run(),
        );
        Ok(reported)
    }

    fn barred(&self, barred: Barred, queued: &Queued) -> PoolError {
        match barred {
            Barred::TimedOut => self.timed_out(queued, Stage::Gate),
            Barred::Closed => self.closed(),
            Barred::Full(waiting) => {
                Totals::count(&self.registry.totals.refused);
                PoolError::QueueFull {
                    pool: self.name(),
                    waiting,
                }
            }
            Barred::Taken => PoolError::InUse {
                pool: self.name(),
                status: Box::new(self.status()),
            },
        }
    }

    pub(crate) fn closed(&self) -> PoolError {
        PoolError::Closed { pool: self.name() }
    }
}

/// Makes one connection and stores it, in a task of its own.
struct Dial {
    shared: Arc<Shared>,
    attempt: Attempt,
    place: Place,
    coming: Coming,
    report: oneshot::Sender<ConnectError>,
}

impl Dial {
    async fn run(self) {
        let Self {
            shared,
            attempt,
            place,
            // Until the end: whoever is woken by it finds the backend parked, or the place free.
            coming: _coming,
            report,
        } = self;
        let generation = place.member.generation();
        // A panic while connecting must not cost the pool its place for ever (failure case F7).
        let dialling = std::panic::AssertUnwindSafe(shared.dialler.dial(generation)).catch_unwind();
        let dialled = dialling.await.unwrap_or_else(|_panic| {
            Err(ConnectError::new(
                &generation.endpoint.address(),
                Failure::Panicked,
            ))
        });
        match dialled {
            Ok(dialled) => {
                Totals::count(&shared.registry.totals.opened);
                let registry = Arc::clone(&shared.registry);
                let backend = Backend::new(dialled, place, &shared.profile, registry);
                shared.registry.enlist(backend.lease());
                shared.park(backend, attempt);
            }
            Err(error) => {
                Totals::count(&shared.registry.totals.connect_failures);
                tracing::warn!(target: "app_db::pool", pool = &*shared.registry.name, %error, "connecting failed");
                // In this order: whoever hears of the failure finds the place free again and the
                // delay set. What fails with credentials that have been replaced meanwhile says nothing
                // of the new ones: its caller tries again.
                let replaced = !shared.registry.generations.is_current(&place.member);
                drop(place);
                if replaced {
                    drop(attempt);
                } else {
                    attempt.failed(error.clone());
                    let _unheard = report.send(error);
                }
                shared.registry.changes.tell();
            }
        }
    }
}

impl Shared {
    /// Puts a new backend among the idle, unless it was overtaken by a rotation or by closing.
    fn park(&self, mut backend: Backend, attempt: Attempt) {
        if let Some(doom) = backend.overdue(Instant::now()) {
            backend.doom(doom);
        }
        self.store.add(backend);
        // Not before it is stored: who is let through then would dial for what is there.
        attempt.succeeded();
        self.registry.changes.tell();
        if self.registry.is_closed() {
            self.sweep();
        }
        if self.registry.established() < self.profile.min_idle {
            self.wake_keeper();
        }
    }
}

async fn failure_of(
    dialling: &mut Option<oneshot::Receiver<ConnectError>>,
) -> Option<ConnectError> {
    dialling.as_mut()?.await.ok()
}

/// When so much time is over; a year from now where the clock cannot hold it.
pub(crate) fn deadline(from: Instant, patience: Duration) -> Instant {
    from.checked_add(patience).unwrap_or(from + A_YEAR)
}

const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long the first connection of a pool may take (req 3.12).
pub(crate) const START_UP: Duration = Duration::from_secs(5);
