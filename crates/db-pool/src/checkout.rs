//! Checkout: from passing the gate to holding a connection.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bb8::PooledConnection;
use diesel_async::SimpleAsyncConnection;
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::backend::{Backend, Doom, Place};
use crate::connection::Connection;
use crate::error::{ConnectError, Failure, PoolError};
use crate::gate::Barred;
use crate::manager::Manager;
use crate::pool::Shared;
use crate::status::Totals;

type Stored = PooledConnection<'static, Manager>;

impl Shared {
    /// Hands out a connection by the deadline, or says why not.
    ///
    /// An attempt to connect that a caller began goes on when the caller gives up, and what it makes is
    /// parked: a server slower than every caller's patience would otherwise never be reached.
    pub(crate) async fn checkout(
        self: Arc<Self>,
        patience: Duration,
        caller: &'static Location<'static>,
    ) -> Result<Connection, PoolError> {
        let arrived = Instant::now();
        let deadline = arrived.checked_add(patience).unwrap_or(arrived + A_YEAR);
        let permit = match self.gate.enter(deadline).await {
            Ok(permit) => permit,
            Err(Barred::Closed) => return Err(self.closed()),
            Err(Barred::TimedOut) => return Err(self.timed_out(arrived)),
        };
        let registry = Arc::clone(&self.registry);
        let mut dialling: Option<oneshot::Receiver<ConnectError>> = None;
        loop {
            // Registered before looking, so that what happens in between is not missed.
            let mut changed = std::pin::pin!(registry.changed.notified());
            changed.as_mut().enable();
            while let Some(stored) = self.take_idle() {
                if let Some(fit) = self.proved(stored, deadline).await {
                    return Ok(Connection::new(fit, permit, self, caller));
                }
            }
            if self.registry.is_closed() {
                return Err(self.closed());
            }
            // Nothing lives and nothing will: whoever comes within the delay is told what the last one was.
            if let Some(source) = self.backoff.refusal()
                && dialling.is_none()
                && self.is_hopeless()
            {
                return Err(PoolError::Connect {
                    pool: self.name(),
                    source,
                });
            }
            let not_before = self
                .backoff
                .earliest(arrived)
                .filter(|at| *at > Instant::now());
            if dialling.is_none() && not_before.is_none() {
                dialling = self.dial_in_background();
            }
            let waits_for_backoff = dialling.is_none() && not_before.is_some();
            tokio::select! {
                biased;
                () = changed => {}
                failure = failure_of(&mut dialling), if dialling.is_some() => {
                    dialling = None;
                    // While a connection lives there is hope for this caller too: during a rotation
                    // the old credentials fail, and the connections made with them work on.
                    if let Some(source) = failure.filter(ConnectError::is_permanent)
                        && self.is_hopeless()
                    {
                        return Err(PoolError::Connect { pool: self.name(), source });
                    }
                }
                () = sleep_until(not_before.unwrap_or(deadline)), if waits_for_backoff => {}
                () = sleep_until(deadline) => return Err(self.timed_out(arrived)),
                () = self.registry.closing.cancelled() => return Err(self.closed()),
            }
            if Instant::now() >= deadline {
                return Err(self.timed_out(arrived));
            }
        }
    }

    /// Whether no connection lives that could come back, and no new credentials are being proved.
    fn is_hopeless(&self) -> bool {
        self.registry.established() == 0 && self.registry.proving.load(Ordering::Acquire) == 0
    }

    /// The idle backend that was returned last.
    pub(crate) fn take_idle(&self) -> Option<Stored> {
        if self.store.state().idle_connections == 0 {
            return None;
        }
        // The store makes a timer for every taking, also where the last handle is dropped: outside.
        let _runtime = self.registry.enter();
        // Ready at once, or somebody else took it in between.
        self.store.get_owned().now_or_never()?.ok()
    }

    /// The same backend, if it may be handed out; one that was idle for long must answer a ping.
    async fn proved(&self, mut stored: Stored, deadline: Instant) -> Option<Stored> {
        if stored.idle_for() >= UNHEARD {
            // What the server has said meanwhile may lie in the socket: yielding lets the runtime look
            // there, and the driver note that the connection has ended (case R06).
            tokio::task::yield_now().await;
        }
        if let Some(doom) = stored.overdue(self.profile.max_uses) {
            stored.doom(doom);
            return None;
        }
        if stored.idle_for() < self.profile.validate_after {
            return Some(stored);
        }
        // Doomed until it answers: if this future is dropped meanwhile, the backend goes with it.
        stored.doom(Doom::Silent);
        let patience = timeout(
            self.profile.validation_timeout,
            stored.conn_mut().batch_execute(""),
        );
        match timeout_at(deadline, patience).await {
            Ok(Ok(Ok(()))) if !self.registry.is_closed() => {
                stored.pardon();
                Some(stored)
            }
            _ => None,
        }
    }

    /// Begins to connect, if there is room for one more connection.
    ///
    /// The receiver gets the failure; it is closed without one when the connection has been stored.
    pub(crate) fn dial_in_background(self: &Arc<Self>) -> Option<oneshot::Receiver<ConnectError>> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let place = Place {
            _slot: slot,
            member: self.registry.generations.join(),
        };
        let (report, reported) = oneshot::channel();
        self.registry.spawn(
            Dial {
                shared: Arc::clone(self),
                place,
                report,
            }
            .run(),
        );
        Some(reported)
    }

    fn timed_out(&self, arrived: Instant) -> PoolError {
        Totals::count(&self.registry.totals.timeouts);
        let longest = self
            .registry
            .leases()
            .iter()
            .filter_map(|lease| lease.held())
            .max_by_key(|(held, _)| *held);
        if let Some((held, holder)) = longest {
            tracing::warn!(
                pool = &*self.registry.name,
                held_ms = held.as_millis() as u64,
                holder = %holder,
                "no connection in time; this one has been held longest"
            );
        }
        let waited = Duration::from_millis(arrived.elapsed().as_millis() as u64);
        let last_failure = self.backoff.last_failure().or_else(|| {
            // Nobody has failed yet, because the first attempt has not ended: a server that is silent.
            let silent = self.registry.established() == 0 && self.occupied() > 0;
            let address = self.registry.generations.current().endpoint.address();
            silent.then(|| {
                ConnectError::new(&address, Failure::TimedOut)
                    .explained(format!("no answer within {waited:?}"))
            })
        });
        PoolError::Timeout {
            pool: self.name(),
            waited,
            status: Box::new(self.status()),
            longest_held: longest,
            last_failure,
        }
    }

    fn closed(&self) -> PoolError {
        PoolError::Closed { pool: self.name() }
    }
}

/// Makes one connection and stores it, in a task of its own.
struct Dial {
    shared: Arc<Shared>,
    place: Place,
    report: oneshot::Sender<ConnectError>,
}

impl Dial {
    async fn run(self) {
        let Self {
            shared,
            place,
            report,
        } = self;
        let began = Instant::now();
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
                shared.backoff.succeeded();
                Totals::count(&shared.registry.totals.opened);
                let registry = Arc::clone(&shared.registry);
                let backend = Backend::new(dialled, place, &shared.profile, registry);
                shared.registry.enlist(backend.lease());
                shared.park(backend);
            }
            Err(error) => {
                Totals::count(&shared.registry.totals.connect_failures);
                tracing::warn!(pool = &*shared.registry.name, %error, "connecting failed");
                // In this order: whoever hears of the failure finds the place free again and the
                // delay set. What fails with credentials that have been replaced meanwhile says nothing
                // of the new ones: its caller tries again.
                let replaced = !shared.registry.generations.is_current(&place.member);
                drop(place);
                if !replaced {
                    shared.backoff.failed(began, error.clone());
                    let _unheard = report.send(error);
                }
                shared.registry.changed.notify_waiters();
            }
        }
    }
}

impl Shared {
    /// Puts a new backend among the idle, unless it was overtaken by a rotation or by closing.
    fn park(&self, mut backend: Backend) {
        if let Some(doom) = backend.overdue(0) {
            backend.doom(doom);
        }
        if let Err(refused) = self.store.add(backend) {
            // Dropping it ends its session.
            drop(refused);
        }
        self.registry.changed.notify_waiters();
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

/// Instead of a deadline that the clock cannot hold.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// From how long an idle time on the socket is looked at; a connection in steady use never is.
const UNHEARD: Duration = Duration::from_millis(1);

/// How long the first connection of a pool may take (req 3.12).
pub(crate) const START_UP: Duration = Duration::from_secs(5);
