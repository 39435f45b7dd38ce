//! The functions that app-db needs from pools beyond their public interface.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use db_config::Endpoint;
use diesel_async::AsyncPgConnection;

use crate::beside::listener::Listener;
use crate::beside::{following, probe};
use crate::checkout::connection::Connection;
use crate::checkout::{Checkout, nested};
use crate::connect::dialler::Dialled;
use crate::connect::phases::ConnectPhases;
use crate::error::PoolError;
use crate::fingerprint::Fingerprint;
use crate::pool::Pool;
use crate::pool_times::TimeListener;
use crate::profile::PoolProfile;
use crate::upkeep::rotation::{self, Rotation};

pub use crate::causes::with_causes;
pub use crate::checkout::nested::GuardMark;
pub use crate::connect::inquiry::is_behind_pgpool;
pub use crate::histogram::Recorded;
pub use crate::line_breaks::{breaks_a_line, escaped};
pub use crate::logins::{Logins, Wanted};
pub use crate::telemetry::after_commit::{Actions, run_all};
pub use crate::telemetry::observer::Observer;
pub use crate::upkeep::drain::DrainRules;
pub use crate::upkeep::rotation::Proof;
pub use db_wire::{Observed, Unresolved};

/// Like [`Pool::get`], on behalf of other code. Reports of a long hold name `caller`.
pub fn get_for(
    pool: &Pool,
    caller: &'static Location<'static>,
) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
    let shared = Arc::clone(pool.shared());
    let patience = shared.registry.settings.checkout_timeout();
    Checkout::queueing(shared, patience, caller)
}

/// Polls work that holds a connection of this pool. `caller` is where that connection was asked for.
///
/// A checkout from this pool inside the work counts as nested, and is refused if no connection is free. Dropping the
/// future drops the work.
pub fn scope<F: Future>(
    pool: &Pool,
    caller: &'static Location<'static>,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    nested::scope(&pool.shared().registry, caller, work)
}

/// Like [`Pool::connect_lazy`], for a pool that shares its credentials with others.
#[must_use]
pub fn connect_with(endpoint: &Endpoint, profile: PoolProfile, logins: Arc<Logins>) -> Pool {
    Pool::with_logins(endpoint, profile, Some(logins))
}

/// Waits for the first connection of a pool, as [`Pool::connect`] does.
///
/// # Errors
///
/// As [`Pool::connect`]. Dropping the future loses nothing.
pub async fn first_connection(
    pool: &Pool,
    caller: &'static Location<'static>,
) -> Result<(), PoolError> {
    pool.first_connection(caller).await
}

/// The endpoint of a pool: where, and as which user, it connects now.
#[must_use]
pub fn endpoint(pool: &Pool) -> Endpoint {
    let generation = pool.shared().registry.generations.current();
    generation.endpoint.clone()
}

/// The endpoint at another host and port, if it has a single TCP host.
#[must_use]
pub fn moved(endpoint: &Endpoint, host: &str, port: u16) -> Endpoint {
    rotation::moved(endpoint, host, port)
}

/// Logs in once at each host with a new login, on connections beside the pool, with freshly read certificates. This
/// is the first half of a rotation over several pools.
///
/// # Errors
///
/// [`PoolError::Connect`] if a login fails, [`PoolError::Closed`]. Dropping the future closes the connections.
///
/// While the caller keeps the proof, waiting callers do not fail because the server refuses the present credentials.
/// Keep it until the new ones are in place.
pub async fn prove(pool: &Pool, endpoint: &Endpoint) -> Result<Proof, PoolError> {
    rotation::prove(pool.shared(), endpoint).await
}

/// The identifier of the cluster behind an endpoint, which its standbys share.
///
/// # Errors
///
/// [`PoolError::Connect`] if the login fails, or the server does not give the identifier. Dropping the future closes
/// the connection. Costs a login and one round trip.
pub async fn cluster_at(pool: &Pool, endpoint: Endpoint) -> Result<String, PoolError> {
    rotation::cluster_at(pool.shared(), endpoint).await
}

/// Puts proved logins in place for all of these pools. This is the second half of a rotation over several pools.
///
/// It awaits nothing, so no dropped future can leave some of the pools with the old credentials.
pub fn put_in_place(pools: Vec<(Pool, Endpoint)>, rules: DrainRules) -> Rotation {
    let pools = pools.into_iter();
    let pools = pools.map(|(pool, endpoint)| (Arc::clone(pool.shared()), endpoint));
    rotation::put_in_place(pools.collect(), rules)
}

/// Reads the certificates of a pool again, for new connections. If that fails, the present ones stay.
pub fn read_certificates(pool: &Pool) {
    let endpoint = endpoint(pool);
    pool.shared().dialler.read_certificates(&endpoint);
}

/// Tells these pools that their present credentials work: the server has accepted a login beside them.
pub fn logins_work(pools: &[Pool]) {
    pools.iter().for_each(|pool| pool.shared().logins_work());
}

/// Finds out within the patience whether the server answers, even if the pool is full. `None` if it has not answered.
///
/// It takes no connection away from a caller. If none is idle, it asks on a session beside the pool, which the pool
/// keeps for a minute.
///
/// # Errors
///
/// [`PoolError::Connect`] when no session can be had, [`PoolError::Closed`]. Dropping the future loses nothing.
pub async fn probe(pool: &Pool, patience: Duration) -> Option<Result<(), PoolError>> {
    probe::probe(pool.shared(), patience).await
}

/// Listens to channels on a session beside the pool. Call it anywhere; it begins inside a tokio runtime.
///
/// # Errors
///
/// [`PoolError::Channels`] if the server could not know the channels by these names.
pub fn listen(pool: &Pool, channels: &[String]) -> Result<Listener, PoolError> {
    following::listen(pool.shared(), channels)
}

/// How many sessions there are beside the connections of the pool, including sessions that are being closed.
#[must_use]
pub fn sessions_beside(pool: &Pool) -> u32 {
    pool.shared().registry.beside.load(Ordering::Acquire)
}

/// Gives the pool the current runtime, unless it has one.
pub fn begin(pool: &Pool) {
    pool.shared().registry.begin();
}

/// Runs a task on the runtime of the pool, which waits for it when it closes.
pub fn spawn(pool: &Pool, task: impl Future<Output = ()> + Send + 'static) {
    pool.shared().registry.spawn(task);
}

/// Notes that the task that polls now holds this connection outside of a helper's work.
#[must_use]
pub fn guard(pool: &Pool, connection: &Connection) -> GuardMark {
    GuardMark::new(&pool.shared().registry, connection.live())
}

/// A session that no pool counts, for questions that must be answered even if every connection is in use.
pub struct SessionBeside(Dialled);

impl SessionBeside {
    /// The session.
    pub fn conn(&mut self) -> &mut AsyncPgConnection {
        &mut self.0.conn
    }

    /// How long the parts of connecting took.
    #[must_use]
    pub fn phases(&self) -> ConnectPhases {
        self.0.phases
    }
}

impl std::fmt::Debug for SessionBeside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SessionBeside").finish_non_exhaustive()
    }
}

/// Opens such a session with the pool's current credentials. It ends when it is dropped.
///
/// # Errors
///
/// [`PoolError::Connect`] after the connect timeout at the latest, [`PoolError::Closed`]. Dropping the
/// future closes the connection.
pub async fn session_beside(pool: &Pool) -> Result<SessionBeside, PoolError> {
    let shared = pool.shared();
    let endpoint = shared.registry.generations.current().endpoint.clone();
    let dialled = rotation::log_in_beside(shared, endpoint).await?;
    Ok(SessionBeside(dialled))
}

/// An SQL text on one line, with `?` for its values; only the beginning of a very long text.
#[must_use]
pub fn without_values(sql: &str) -> Arc<str> {
    Fingerprint::of(sql.as_bytes()).text
}

/// Reports every time of a pool to this listener from now on, if it is the first listener. The listener runs where
/// the times are measured, so its own time adds to each checkout.
pub fn listen_to_times(pool: &Pool, listener: TimeListener) -> bool {
    pool.shared().registry.times.listen(listener)
}

/// The times of each fingerprint of a pool, as they were recorded.
#[must_use]
pub fn statement_times(pool: &Pool) -> Vec<(Arc<str>, Recorded)> {
    pool.shared().registry.statements.times()
}

/// Refuses checkouts from now on, sends waiting callers away and closes idle connections. It does not wait for
/// connections in use; [`Pool::close`] does.
pub fn begin_close(pool: &Pool) {
    pool.shared().begin_close();
}

/// Whether sessions behind a pool may have another value of a setting than the wanted one. `None` before the first
/// connection.
#[must_use]
pub fn setting_differs(pool: &Pool, name: &str, wanted: &str) -> Option<bool> {
    Some(pool.shared().dialler.facts()?.differs(name, wanted))
}

/// The settings that a pool sends in each transaction, because its sessions are shared and the server itself lacks
/// the settings. They have the form of SQL after `SET`. Empty before the first connection.
#[must_use]
pub fn assignments(pool: &Pool) -> Vec<String> {
    pool.shared().dialler.assignments()
}

/// How many connections a server allows.
#[expect(clippy::exhaustive_structs, reason = "app-db takes it apart")]
pub struct ConnectionLimits {
    /// Its `max_connections`.
    pub max: i64,
    /// How many of them the server keeps for superusers and reserved roles.
    pub reserved: i64,
}

/// The limits of the server behind a pool, as the first connection has read them.
#[must_use]
pub fn connection_limits(pool: &Pool) -> Option<ConnectionLimits> {
    let facts = pool.shared().dialler.facts()?;
    let number = |name| {
        facts
            .value(name)
            .and_then(|value| value.parse::<i64>().ok())
    };
    Some(ConnectionLimits {
        max: number("max_connections")?,
        // Reserved roles came with PostgreSQL 16.
        reserved: number("superuser_reserved_connections")?
            + number("reserved_connections").unwrap_or(0),
    })
}

/// What the wire knows about a connection.
#[must_use]
pub fn observed(connection: &Connection) -> &Arc<Observed> {
    connection.observed()
}

/// Whether diesel began a query on a connection whose future was dropped or is not finished yet. The server may be
/// working on the query, or may be about to.
#[must_use]
pub fn is_unfinished(connection: &Connection) -> bool {
    connection.is_unfinished()
}
