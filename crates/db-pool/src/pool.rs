//! The pool.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use db_config::{Credentials, Endpoint};

use crate::checkout::Checkout;
use crate::checkout::connection::Connection;
use crate::error::PoolError;
use crate::logins::Logins;
use crate::profile::PoolProfile;
use crate::settings::PoolSettings;
use crate::shared::Shared;
use crate::snapshot::{PoolSnapshot, snapshot};
use crate::status::{Closed, Status};
use crate::telemetry::statement_stats::StatementStats;
use crate::upkeep::drain::DrainRules;
use crate::upkeep::keeper::Keeper;
use crate::upkeep::reconfigure::reconfigure;
use crate::upkeep::resize::resize;
use crate::upkeep::rotation::{self, Rotation};
use crate::upkeep::shutdown;
use crate::upkeep::warm_up::warm_up;

/// A cloneable handle to one pool.
///
/// When the last handle is gone and nobody holds a connection, the pool closes its idle connections.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    /// Ends the keeper when the last handle is dropped.
    _owner: Arc<Owner>,
}

struct Owner(Arc<Shared>);

impl Pool {
    /// Opens a pool and waits for its first connection.
    ///
    /// # Errors
    ///
    /// [`PoolError::Connect`] if the server refuses or cannot be reached within five seconds; at once if waiting
    /// cannot help, as with a wrong password.
    ///
    /// Dropping the future closes the connections that it opened.
    #[track_caller]
    pub fn connect(
        endpoint: impl Into<Endpoint>,
        profile: PoolProfile,
    ) -> impl Future<Output = Result<Self, PoolError>> + Send {
        let caller = Location::caller();
        let pool = Self::connect_lazy(endpoint, profile);
        async move {
            pool.first_connection(caller).await?;
            Ok(pool)
        }
    }

    /// Waits for the first connection.
    pub(crate) async fn first_connection(
        &self,
        caller: &'static Location<'static>,
    ) -> Result<(), PoolError> {
        let connection = Checkout::queueing(Arc::clone(&self.shared), START_UP, caller).await;
        match connection {
            Ok(_connection) => Ok(()),
            Err(PoolError::Timeout {
                pool,
                last_failure: Some(source),
                ..
            }) => Err(PoolError::Connect { pool, source }),
            Err(error) => Err(error),
        }
    }

    /// Opens a pool that connects when it is first used. It needs no server.
    ///
    /// Inside a tokio runtime, the pool begins at once to make `min_idle` connections. Outside a runtime, it begins
    /// with its first use, on the runtime of that use. Its tasks and connections end with that runtime, so the runtime
    /// must outlive the pool.
    pub fn connect_lazy(endpoint: impl Into<Endpoint>, profile: PoolProfile) -> Self {
        Self::with_logins(&endpoint.into(), profile, None)
    }

    /// Opens a pool that shares its credentials with others.
    pub(crate) fn with_logins(
        endpoint: &Endpoint,
        profile: PoolProfile,
        logins: Option<Arc<Logins>>,
    ) -> Self {
        let shared = Shared::new(endpoint, profile, logins);
        shared.registry.spawn(Keeper::new(&shared).run());
        Self {
            _owner: Arc::new(Owner(Arc::clone(&shared))),
            shared,
        }
    }

    /// Checks out a connection. Callers are served in the order in which they asked.
    ///
    /// # Errors
    ///
    /// [`PoolError::Timeout`] after the profile's `checkout_timeout`, which also bounds connecting;
    /// [`PoolError::QueueFull`] at once when as many callers wait as `max_waiting` allows; [`PoolError::Connect`] at
    /// once when no connection lives and the server's refusal is permanent, or the [breaker](crate::Breaker) is open;
    /// [`PoolError::Nested`] at once inside work that holds a connection of this pool, when none is free;
    /// [`PoolError::Closed`].
    ///
    /// Dropping the future gives up the place in the queue and loses nothing. An idle connection costs no round trip,
    /// unless it was idle for longer than `validate_after`.
    #[track_caller]
    pub fn get(&self) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
        let patience = self.shared.registry.settings.checkout_timeout();
        Checkout::queueing(Arc::clone(&self.shared), patience, Location::caller())
    }

    /// Like [`Pool::get`], but the caller waits for `patience` instead of `checkout_timeout`.
    ///
    /// With zero, the caller does not wait: it gets a connection that is idle and needs no ping, or
    /// [`PoolError::Timeout`]. A ping or a login that such a caller has begun goes on without it, so that the next
    /// caller finds the connection.
    ///
    /// # Errors
    ///
    /// As [`Pool::get`]. Dropping the future loses nothing.
    #[track_caller]
    pub fn get_timeout(
        &self,
        patience: Duration,
    ) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
        Checkout::queueing(Arc::clone(&self.shared), patience, Location::caller())
    }

    /// Checks out a connection without queueing: this succeeds only if fewer than `max` are in use and nobody waits.
    ///
    /// It may still take time, up to `checkout_timeout`: the pool pings a connection that was idle for long, and makes
    /// one if none is idle. It is for callers that have a fallback. While no connection lives, such a caller gets the
    /// first failure to connect as its answer; `get` keeps trying until the breaker opens (`reconnect.attempts`).
    ///
    /// # Errors
    ///
    /// [`PoolError::InUse`] at once if [`Pool::get`] would queue, whatever `max_waiting` is;
    /// [`PoolError::Connect`] at once after a failure; otherwise as `get`. Dropping the future loses
    /// nothing.
    #[track_caller]
    pub fn try_get(&self) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
        Checkout::at_once(Arc::clone(&self.shared), Location::caller())
    }

    /// Replaces the credentials without dropping work in flight.
    ///
    /// The pool first proves the new credentials with a login. Then it makes every new connection with them, closes
    /// older connections that are idle, and closes older connections in use when they come back.
    ///
    /// # Errors
    ///
    /// [`PoolError::Connect`] when the new credentials do not work; nothing has changed then.
    ///
    /// Dropping the future before it resolves leaves either the old credentials or the new ones in place.
    pub async fn rotate(&self, credentials: Credentials) -> Result<Rotation, PoolError> {
        let generation = self.shared.registry.generations.current();
        let endpoint = generation.endpoint.with_credentials(&credentials);
        let _proof = rotation::prove(&self.shared, &endpoint).await?;
        let shared = Arc::clone(&self.shared);
        Ok(rotation::put_in_place(
            vec![(shared, endpoint)],
            DrainRules::default(),
        ))
    }

    /// Changes the maximum of live connections.
    ///
    /// Growing takes effect at once. Shrinking closes idle connections at once, and connections in use when
    /// they come back; the pool makes no new one until enough are gone. No waiting caller is sent away, and
    /// no holder is disturbed.
    ///
    /// # Errors
    ///
    /// [`PoolError::Resize`] for zero, and for more than the profile's `ceiling`; nothing has changed then.
    pub fn resize(&self, max: u32) -> Result<(), PoolError> {
        resize(&self.shared, max)
    }

    /// Changes settings while the pool is in use: everything that the closure changes, or nothing.
    ///
    /// The closure gets the settings in force. Idle connections follow the new settings at once. Connections in use
    /// are not disturbed, and follow them when they come back. Callers that already wait keep their
    /// `checkout_timeout`. Two concurrent changes happen one after the other. This method waits for nothing else.
    ///
    /// # Errors
    ///
    /// [`PoolError::Settings`] with everything that is wrong with the new settings; nothing has changed then.
    pub fn reconfigure(
        &self,
        change: impl FnOnce(&mut PoolSettings),
    ) -> Result<PoolSettings, PoolError> {
        reconfigure(&self.shared, change)
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> PoolSettings {
        self.shared.registry.settings.read(self.shared.max())
    }

    /// All facts about the pool at this instant; never waits.
    ///
    /// It costs some microseconds and two short locks for each connection in use.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        snapshot(&self.shared)
    }

    /// Waits until `min_idle` connections are open, so that the first requests need not log in.
    ///
    /// Returns whether they are open. It returns `false` as soon as an attempt to connect fails, when the patience is
    /// over, or when the pool is closed. In the first two cases the pool keeps trying, and serves with the connections
    /// that it has.
    ///
    /// Dropping the future loses nothing. This costs one login for each missing connection, a few at a time.
    pub async fn warm_up(&self, patience: Duration) -> bool {
        warm_up(&self.shared, patience).await
    }

    /// The cost of this pool's statements by fingerprint, the most expensive first.
    ///
    /// The list has the 200 most expensive fingerprints, and one entry for all others. The call takes a lock for each
    /// of them in turn, as statements do when they end. The list is empty if `statement_statistics` is off.
    #[must_use]
    pub fn statements(&self) -> Vec<StatementStats> {
        self.shared.registry.statements.stats()
    }

    /// Resets the costs of all statements.
    pub fn reset_statements(&self) {
        self.shared.registry.statements.reset();
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

    /// The profile of the pool.
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

    /// The address that the pool connects to, without user and secret.
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
    /// Returns when the server has closed every connection, or shortly after the grace. If a connection is still held
    /// then, the pool cancels its statement on the server, counts the connection, and closes it when its holder drops
    /// it. Closing twice is fine.
    ///
    /// Dropping the future leaves the pool closed, and does not cancel the connections that are still held.
    pub async fn close(&self, grace: Duration) -> Closed {
        shutdown::close(&self.shared, grace).await
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

/// How long the first connection of a pool may take.
const START_UP: Duration = Duration::from_secs(5);
