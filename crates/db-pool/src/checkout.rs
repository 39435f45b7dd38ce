//! Checkout: from asking for a connection to holding one.

pub(crate) mod connection;
pub(crate) mod diagnosis;
pub(crate) mod dial;
pub(crate) mod entering;
pub(crate) mod nested;
pub(crate) mod queued;
pub(crate) mod timed_out;
pub(crate) mod trouble;
pub(crate) mod turn;
pub(crate) mod validate;

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::backend::store::Stored;
use crate::checkout::connection::Connection;
use crate::checkout::diagnosis::facts::WaitStage;
use crate::checkout::dial::dial_in_background;
use crate::checkout::queued::Queued;
use crate::checkout::timed_out::timed_out;
use crate::checkout::turn::Turn;
use crate::checkout::validate::{is_fresh, proved};
use crate::connect::backoff::Urge;
use crate::connect::connect_error::ConnectError;
use crate::deadline::deadline;
use crate::error::PoolError;
use crate::queue::gate::{Permit, Refusal};
use crate::shared::Shared;
use crate::totals::Totals;

/// One caller on its way to a connection.
pub(crate) struct Checkout {
    shared: Arc<Shared>,
    caller: &'static Location<'static>,
    queued: Queued,
    deadline: Instant,
    /// Whether the caller has stood in the queue, and whether the pool had to make a connection for it.
    has_queued: bool,
    has_dialled: bool,
    /// Whether the caller takes the first failure to connect as its answer, instead of waiting on.
    wants_an_answer: bool,
}

impl Checkout {
    /// Hands out a connection within this time, or says why not. With zero it hands out only what is
    /// available at once.
    ///
    /// When a caller gives up, the attempt to connect that it began goes on, and the new connection
    /// becomes idle. Otherwise a server that is slower than every caller's patience would never be
    /// reached.
    pub(crate) async fn queueing(
        shared: Arc<Shared>,
        patience: Duration,
        caller: &'static Location<'static>,
    ) -> Result<Connection, PoolError> {
        let mut checkout = Self::begin(shared, patience, caller);
        checkout.keep_rate()?;
        let shared = &checkout.shared;
        let arrived = checkout.queued.arrived;
        let (permit, now) = match nested::outer(&shared.registry) {
            Some(outer) => (nested::enter(shared, outer, caller)?, arrived),
            None => match shared.gate.try_enter() {
                // So little time has passed that the clock need not be read again.
                Ok(permit) => (permit, arrived),
                Err(_queue) => {
                    let deadline = checkout.deadline;
                    match entering::enter(&checkout.shared, caller, arrived, deadline).await {
                        Ok(permit) => {
                            checkout.has_queued = true;
                            (permit, Instant::now())
                        }
                        Err(refusal) => return Err(checkout.refusal(refusal)),
                    }
                }
            },
        };
        checkout.hand_out(permit, now).await
    }

    /// Hands out a connection to a caller that does not queue.
    pub(crate) async fn at_once(
        shared: Arc<Shared>,
        caller: &'static Location<'static>,
    ) -> Result<Connection, PoolError> {
        let patience = shared.registry.settings.checkout_timeout();
        let checkout = Self {
            wants_an_answer: true,
            ..Self::begin(shared, patience, caller)
        };
        checkout.keep_rate()?;
        let arrived = checkout.queued.arrived;
        match checkout.shared.gate.try_enter() {
            Ok(permit) => checkout.hand_out(permit, arrived).await,
            Err(refusal) => Err(checkout.refusal(refusal)),
        }
    }

    fn begin(shared: Arc<Shared>, patience: Duration, caller: &'static Location<'static>) -> Self {
        let arrived = Instant::now();
        shared.registry.begin();
        Self {
            queued: Queued::at(arrived, &shared.registry),
            deadline: deadline(arrived, patience),
            shared,
            caller,
            has_queued: false,
            has_dialled: false,
            wants_an_answer: false,
        }
    }

    /// Refuses the caller if more callers ask than the pool's `rate_limit` allows.
    fn keep_rate(&self) -> Result<(), PoolError> {
        let Some(limit) = &self.shared.rate_limit else {
            return Ok(());
        };
        limit.take().map_err(|limited| {
            Totals::count(&self.shared.registry.totals.refused);
            PoolError::RateLimited {
                pool: self.shared.name(),
                limited,
            }
        })
    }

    /// Hands out an idle connection, or looks for one. The future that looks is boxed: a future is copied
    /// each time it is passed on, and most callers never need this one.
    async fn hand_out(self, permit: Permit, now: Instant) -> Result<Connection, PoolError> {
        let shared = &self.shared;
        let first = match shared.registry.turns.is_empty() {
            true => shared.store.take(),
            false => None,
        };
        match first {
            Some(stored) if is_fresh(shared, &stored, now) => {
                Ok(self.connection(stored, permit, now))
            }
            first => Box::pin(self.find(first, permit)).await,
        }
    }

    /// Finds or makes a connection for a caller that has passed the gate. `first` is a backend that may be
    /// usable.
    async fn find(
        mut self,
        first: Option<Stored>,
        permit: Permit,
    ) -> Result<Connection, PoolError> {
        let shared = Arc::clone(&self.shared);
        let registry = &shared.registry;
        let mut turn = Turn::new(registry, permit.number());
        let mut dialling: Option<oneshot::Receiver<ConnectError>> = None;
        // Whether the connection that was made for this caller went to an older caller.
        let mut given_away = false;
        if let Some(stored) = first
            && let Some(fit) = proved(&shared, stored, self.deadline).await
        {
            return Ok(self.connection(fit, permit, Instant::now()));
        }
        let listener = registry.changes.listen();
        let mut asks_at = entering::half_way(self.queued.arrived, self.deadline);
        loop {
            let mut changed = std::pin::pin!(listener.next());
            changed.as_mut().enable();
            if Instant::now() < self.deadline
                && let Some(fit) = self.fit(&mut turn).await
            {
                return Ok(self.connection(fit, permit, Instant::now()));
            }
            if registry.is_closed() {
                return Err(shared.closed());
            }
            let mut again_at = None;
            let dials = !given_away || registry.turns.is_short_of_connections();
            if dialling.is_none() && dials {
                match dial_in_background(&shared, Urge::Caller) {
                    Ok(report) => {
                        self.has_dialled = true;
                        dialling = Some(report);
                    }
                    Err(not_now) => {
                        // No connection lives, and the pool can make none for now: the caller gets the
                        // last failure at once.
                        let failure = match self.wants_an_answer {
                            true => shared.backoff.last_failure(),
                            false => shared.refusal(),
                        };
                        if let Some(source) = failure
                            && shared.is_hopeless()
                        {
                            return Err(self.cannot_connect(source));
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
                    // While a connection lives, this caller may still get one: during a rotation the old
                    // credentials fail, but the connections that were made with them keep working.
                    let is_final =
                        |failure: &ConnectError| self.wants_an_answer || failure.is_permanent();
                    if let Some(source) = failure.filter(is_final)
                        && shared.is_hopeless()
                    {
                        return Err(self.cannot_connect(source));
                    }
                }
                () = sleep_until(asks_at.unwrap_or(self.deadline)),
                    if asks_at.is_some() && dialling.is_some() =>
                {
                    asks_at = None;
                    entering::ask_for_a_sign_of_life(&shared);
                }
                () = sleep_until(again_at.unwrap_or(self.deadline)), if again_at.is_some() => {}
                () = sleep_until(self.deadline) => {
                    return Err(timed_out(&shared, &self.queued, WaitStage::Connecting));
                }
                () = registry.closing.cancelled() => return Err(shared.closed()),
            }
            if Instant::now() >= self.deadline {
                return Err(timed_out(&shared, &self.queued, WaitStage::Connecting));
            }
        }
    }

    /// The first idle backend that may be handed out, if one is found in time.
    async fn fit(&self, turn: &mut Turn<'_>) -> Option<Stored> {
        while let Some(stored) = turn.take(&self.shared) {
            let fit = proved(&self.shared, stored, self.deadline).await;
            if fit.is_some() || Instant::now() >= self.deadline {
                return fit;
            }
        }
        None
    }

    fn connection(self, stored: Stored, permit: Permit, now: Instant) -> Connection {
        let totals = &self.shared.registry.totals;
        if self.has_dialled {
            Totals::count(&totals.served_new);
        } else if self.has_queued {
            Totals::count(&totals.served_after_queueing);
        }
        Connection::new(stored, permit, self.shared, self.caller, &self.queued, now)
    }

    fn cannot_connect(&self, source: ConnectError) -> PoolError {
        PoolError::Connect {
            pool: self.shared.name(),
            source,
        }
    }

    fn refusal(&self, refusal: Refusal) -> PoolError {
        let shared = &self.shared;
        match refusal {
            Refusal::TimedOut => timed_out(shared, &self.queued, WaitStage::Gate),
            Refusal::Closed => shared.closed(),
            Refusal::Full(waiting) => {
                Totals::count(&shared.registry.totals.refused);
                PoolError::QueueFull {
                    pool: shared.name(),
                    waiting,
                }
            }
            Refusal::Taken => PoolError::InUse {
                pool: shared.name(),
                status: Box::new(shared.status()),
            },
        }
    }
}

async fn failure_of(
    dialling: &mut Option<oneshot::Receiver<ConnectError>>,
) -> Option<ConnectError> {
    dialling.as_mut()?.await.ok()
}
