//! The pool.

use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use db_config::{Credentials, Endpoint};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backend::slots::Slots;
use crate::backend::store::{Store, Stored};
use crate::checkout::START_UP;
use crate::checkout::connection::Connection;
use crate::connect::backoff::Backoff;
use crate::connect::dialler::Dialler;
use crate::error::PoolError;
use crate::generation::Generations;
use crate::profile::PoolProfile;
use crate::queue::gate::Gate;
use crate::registry::Registry;
use crate::status::{Closed, Status};
use crate::upkeep::keeper::Keeper;
use crate::upkeep::rotation::{self, Proof, Rotation};

/// A cloneable handle to one pool.
///
/// When the last handle is gone and no connection is held, the idle connections are closed.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    /// Ends the keeper when the last handle is dropped.
    _owner: Arc<Owner>,
}

pub(crate) struct Shared {
    pub(crate) registry: Arc<Registry>,
    pub(crate) profile: PoolProfile,
    pub(crate) dialler: Dialler,
    pub(crate) gate: Arc<Gate>,
    /// One per live connection, from before it is dialled until the server has closed it.
    pub(crate) slots: Arc<Slots>,
    pub(crate) store: Store,
    pub(crate) backoff: Arc<Backoff>,
    pub(crate) keeper: Notify,
    /// Orders changes of size.
    pub(crate) resizing: Mutex<()>,
}

struct Owner(Arc<Shared>);

impl Pool {
    /// Opens a pool and waits for its first connection.
    ///
    /// # Errors
    ///
    /// [`PoolError::Connect`] when the server refuses or cannot be reached within five seconds (req
    /// 3.12); at once where waiting cannot help, as with a wrong password.
    ///
    /// Dropping the future closes what was opened. Must be called within a tokio runtime.
    #[track_caller]
    pub fn connect(
        endpoint: impl Into<Endpoint>,
        profile: PoolProfile,
    ) -> impl Future<Output = Result<Self, PoolError>> + Send {
        let caller = Location::caller();
        let pool = Self::connect_lazy(endpoint, profile);
        async move {
            let connection = Arc::clone(&pool.shared).checkout(START_UP, caller).await;
            match connection {
                Ok(_connection) => Ok(pool),
                Err(PoolError::Timeout {
                    pool,
                    last_failure: Some(source),
                    ..
                }) => Err(PoolError::Connect { pool, source }),
                Err(error) => Err(error),
            }
        }
    }

    /// Opens a pool that connects when it is first used.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn connect_lazy(endpoint: impl Into<Endpoint>, profile: PoolProfile) -> Self {
        let endpoint = endpoint.into();
        let max = profile.max.max(1);
        let profile = PoolProfile {
            max,
            ceiling: profile.ceiling.max(max),
            ..profile
        };
        let generations = Generations::new(endpoint.clone());
        let registry = Arc::new(Registry::new(Arc::clone(&profile.name), generations));
        let shared = Arc::new(Shared {
            dialler: Dialler::new(&endpoint, &profile),
            gate: Gate::new(max, profile.max_waiting),
            slots: Slots::new(max),
            store: Store::new(profile.ceiling),
            backoff: Arc::new(Backoff::new(
                Arc::clone(&profile.name),
                profile.reconnect.clone(),
            )),
            keeper: Notify::new(),
            resizing: Mutex::default(),
            profile,
            registry,
        });
        shared.registry.spawn(Keeper::new(&shared).run());
        Self {
            _owner: Arc::new(Owner(Arc::clone(&shared))),
            shared,
        }
    }

    /// Checks a connection out, in the order in which callers asked.
    ///
    /// # Errors
    ///
    /// [`PoolError::Timeout`] after the profile's `checkout_timeout`, which bounds connecting too;
    /// [`PoolError::QueueFull`] at once when as many wait as `max_waiting` allows;
    /// [`PoolError::Connect`] at once when no connection lives and the server refuses for good, or the
    /// [breaker](crate::Breaker) is open;
    /// [`PoolError::Nested`] at once inside work that holds a connection of this pool, when none is free;
    /// [`PoolError::Closed`].
    ///
    /// Dropping the future gives the place in the queue up and loses nothing. With an idle connection it
    /// costs no round trip, unless that one was idle for longer than `validate_after`.
    #[track_caller]
    pub fn get(&self) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
        self.get_for(Location::caller())
    }

    /// The same as [`Pool::get`] with a time of its own in the place of `checkout_timeout`.
    ///
    /// Zero means at once: a connection that is idle and needs no ping, or [`PoolError::Timeout`]. What
    /// a caller with little time began goes on without it, so that the next one finds a connection that
    /// has answered its ping, or a new one.
    ///
    /// # Errors
    ///
    /// As [`Pool::get`]. Dropping the future loses nothing.
    #[track_caller]
    pub fn get_timeout(
        &self,
        patience: Duration,
    ) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
        Arc::clone(&self.shared).checkout(patience, Location::caller())
    }

    /// Checks a connection out without queueing: where fewer than `max` are in use and nobody waits.
    ///
    /// It may still take time, up to `checkout_timeout`: a stale connection is pinged, and one is made
    /// where none is idle.
    ///
    /// # Errors
    ///
    /// [`PoolError::InUse`] at once where [`Pool::get`] would queue, whatever `max_waiting` is; else as
    /// `get`. Dropping the future loses nothing.
    #[track_caller]
    pub fn try_get(&self) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
        Arc::clone(&self.shared).checkout_at_once(Location::caller())
    }

    /// The same as [`Pool::get`] on behalf of somebody else, for helpers that wrap it: `caller` is named
    /// when the connection is held for too long.
    pub fn get_for(
        &self,
        caller: &'static Location<'static>,
    ) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
        Arc::clone(&self.shared).checkout(self.shared.profile.checkout_timeout, caller)
    }

    /// Replaces the credentials without dropping work in flight.
    ///
    /// The new ones are proved on a connection of their own first; then every new connection is made
    /// with them, idle older ones are closed, and those in use are closed when they come back.
    ///
    /// # Errors
    ///
    /// [`PoolError::Connect`] when the new credentials do not work; nothing has changed then.
    ///
    /// Dropping the future before it resolves leaves either the old credentials or the new ones in place.
    pub async fn rotate(&self, credentials: Credentials) -> Result<Rotation, PoolError> {
        let _proof = self.prove(&credentials).await?;
        Ok(Self::put_in_place(std::slice::from_ref(self), &credentials))
    }

    /// Logs in once with new credentials, on a connection beside the pool: the first half of a rotation
    /// over several pools.
    ///
    /// # Errors
    ///
    /// [`PoolError::Connect`] when they do not work, [`PoolError::Closed`]. Dropping the future closes
    /// the connection.
    ///
    /// While the proof is kept, a refusal of the present credentials is not the last word to callers who
    /// wait: keep it until the new ones are in place.
    pub async fn prove(&self, credentials: &Credentials) -> Result<Proof, PoolError> {
        rotation::prove(self, credentials).await
    }

    /// Logs in on a connection beside the pool: whether the server answers, when every connection of the
    /// pool is at work and cannot tell.
    ///
    /// # Errors
    ///
    /// [`PoolError::Connect`] after the connect timeout at the latest, [`PoolError::Closed`]. Dropping the
    /// future closes the connection.
    pub async fn probe(&self) -> Result<(), PoolError> {
        let endpoint = self.shared.registry.generations.current().endpoint.clone();
        rotation::log_in_beside(self, endpoint).await
    }

    /// Puts proved credentials in place for all of these pools: the second half.
    ///
    /// Nothing is awaited in it, so that no dropped future leaves half of the pools behind.
    pub fn put_in_place(pools: &[Pool], credentials: &Credentials) -> Rotation {
        rotation::put_in_place(pools, credentials)
    }

    /// Refuses checkouts from now on, sends waiting callers away and closes idle connections, without
    /// waiting for those in use; [`Pool::close`] does that.
    pub fn begin_close(&self) {
        self.shared.begin_close();
    }

    /// Changes how many connections may be alive.
    ///
    /// Growing takes effect at once. Shrinking closes idle connections at once and those in use when
    /// they come back, and makes no new one until enough are gone; nobody who waits is sent away, and
    /// nobody who holds a connection is disturbed.
    ///
    /// # Errors
    ///
    /// [`PoolError::Resize`] for zero and above the profile's `ceiling`; nothing has changed then.
    pub fn resize(&self, max: u32) -> Result<(), PoolError> {
        self.shared.resize(max)
    }

    /// The counts at this instant; never waits.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// The pool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.registry.name
    }

    /// The profile the pool was made with.
    #[must_use]
    pub fn profile(&self) -> &PoolProfile {
        &self.shared.profile
    }

    /// The user that new connections log in as.
    #[must_use]
    pub fn user(&self) -> String {
        self.shared
            .registry
            .generations
            .current()
            .endpoint
            .user
            .clone()
    }

    /// The database that the pool connects to.
    #[must_use]
    pub fn database(&self) -> String {
        let generation = self.shared.registry.generations.current();
        generation.endpoint.dbname.clone()
    }

    /// Where the pool connects to, without user and secret.
    #[must_use]
    pub fn address(&self) -> String {
        self.shared
            .registry
            .generations
            .current()
            .endpoint
            .address()
    }

    /// Closes the pool: sends waiting callers away, waits for held connections, then cancels them.
    ///
    /// Returns when the server has closed every connection, or shortly after the grace: what is still
    /// held then is cancelled on the server, reported, and closed when it is dropped. Closing twice is
    /// fine.
    ///
    /// Dropping the future leaves the pool closed, and connections that are still held alone.
    pub async fn close(&self, grace: Duration) -> Closed {
        self.shared.close(grace).await
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("address", &self.address())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.begin_close();
    }
}

impl Shared {
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.registry.name)
    }

    pub(crate) fn max(&self) -> u32 {
        self.slots.max()
    }

    pub(crate) fn wake_keeper(&self) {
        self.keeper.notify_one();
    }

    /// Places taken: connections alive or being made.
    pub(crate) fn occupied(&self) -> u32 {
        self.slots.alive()
    }

    pub(crate) fn status(&self) -> Status {
        let registry = &self.registry;
        let totals = &registry.totals;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Status {
            pool: self.name(),
            generation: registry.generations.current().number,
            pooler: self.dialler.pooler(),
            max: self.max(),
            open: registry.established(),
            idle: self.idle(),
            in_use: registry.in_use(),
            waiting: self.gate.waiting(),
            retiring: registry.generations.retiring(),
            opened: count(&totals.opened),
            retired: count(&totals.retired),
            idle_closed: count(&totals.idle_closed),
            lifetime_closed: count(&totals.lifetime_closed),
            uses_closed: count(&totals.uses_closed),
            surplus_closed: count(&totals.surplus_closed),
            discarded: count(&totals.discarded),
            dirty_returned: count(&totals.dirty_returned),
            long_holds: count(&totals.long_holds),
            nested: count(&totals.nested),
            resets: count(&totals.resets),
            connect_failures: count(&totals.connect_failures),
            breaker: self.backoff.breaker(),
            timeouts: count(&totals.timeouts),
            refused: count(&totals.refused),
            wait_count: self.gate.waits.count(),
            wait_duration: self.gate.waits.total(),
            waits: self.gate.waits.quantiles(),
            slow_queries: count(&totals.slow_queries),
            last_connect: registry.last_connect(),
            connect_times: registry.connect_times.quantiles(),
        }
    }

    /// Closes every idle backend that must not stay, and keeps the others in their order.
    pub(crate) fn sweep(&self) {
        let overdue = self.store.sort_out(|idle| {
            let now = Instant::now();
            let is_overdue = |stored: &mut Stored| {
                let doom = stored.overdue(now);
                doom.inspect(|doom| stored.doom(*doom)).is_some()
            };
            idle.extract_if(.., is_overdue).collect()
        });
        drop(overdue);
    }
}
