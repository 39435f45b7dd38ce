//! What app-db needs of pools beside their public interface; no part of that interface.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use db_config::{Credentials, Endpoint};
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
use crate::upkeep::rotation::{self, Rotation};

pub use crate::causes::with_causes;
pub use crate::checkout::nested::GuardMark;
pub use crate::connect::inquiry::is_behind_pgpool;
pub use crate::histogram::Recorded;
pub use crate::line_breaks::{breaks_a_line, escaped};
pub use crate::telemetry::after_commit::{Actions, run_all};
pub use crate::telemetry::observer::Observer;
pub use crate::upkeep::rotation::Proof;
pub use db_wire::{Observed, Unresolved};

/// The same as [`Pool::get`] on behalf of somebody else: `caller` is named when the connection is held
/// for too long.
pub fn get_for(
    pool: &Pool,
    caller: &'static Location<'static>,
) -> impl Future<Output = Result<Connection, PoolError>> + Send + use<> {
    let shared = Arc::clone(pool.shared());
    let patience = shared.registry.settings.checkout_timeout();
    Checkout::queueing(shared, patience, caller)
}

/// Polls work that holds a connection of this pool which `caller` has asked for.
///
/// A checkout from this pool inside it counts as nested, and is refused where no connection is free.
/// Dropping the future drops the work.
pub fn scope<F: Future>(
    pool: &Pool,
    caller: &'static Location<'static>,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    nested::scope(&pool.shared().registry, caller, work)
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
pub async fn prove(pool: &Pool, credentials: &Credentials) -> Result<Proof, PoolError> {
    rotation::prove(pool.shared(), credentials).await
}

/// Puts proved credentials in place for all of these pools: the second half.
///
/// Nothing is awaited in it, so that no dropped future leaves half of the pools behind.
pub fn put_in_place(pools: &[Pool], credentials: &Credentials) -> Rotation {
    let pools: Vec<_> = pools.iter().map(|pool| Arc::clone(pool.shared())).collect();
    rotation::put_in_place(&pools, credentials)
}

/// Whether the server answers, found out within the patience however full the pool is; `None` if nobody has answered.
///
/// It takes no connection away from a caller: where none is idle it asks on a session beside the pool, which is kept
/// for a minute.
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

/// How many sessions there are beside the connections of the pool, closing ones included.
#[must_use]
pub fn sessions_beside(pool: &Pool) -> u32 {
    pool.shared().registry.beside.load(Ordering::Acquire)
}

/// Runs a task on the runtime of the pool, which waits for it when it closes.
pub fn spawn(pool: &Pool, task: impl Future<Output = ()> + Send + 'static) {
    pool.shared().registry.spawn(task);
}

/// Says that the task that polls now holds this connection outside of a helper's work.
#[must_use]
pub fn guard(pool: &Pool, connection: &Connection) -> GuardMark {
    GuardMark::new(&pool.shared().registry, connection.live())
}

/// A session that no pool counts, for questions that are to be answered when every connection is in use.
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

/// Where a pool connects to, with the credentials in use.
#[must_use]
pub fn endpoint(pool: &Pool) -> Endpoint {
    let registry = &pool.shared().registry;
    registry.generations.current().endpoint.clone()
}

/// A text of SQL with `?` for its values, on one line; of a very long one the beginning.
#[must_use]
pub fn without_values(sql: &str) -> Arc<str> {
    Fingerprint::of(sql.as_bytes()).text
}

/// Has every time of a pool told to a listener from now on, if it is the first. It runs where the times are
/// measured, and costs each checkout what it takes.
pub fn listen_to_times(pool: &Pool, listener: TimeListener) -> bool {
    pool.shared().registry.times.listen(listener)
}

/// The times of each fingerprint of a pool, as they were recorded.
#[must_use]
pub fn statement_times(pool: &Pool) -> Vec<(Arc<str>, Recorded)> {
    pool.shared().registry.statements.times()
}

/// Refuses checkouts from now on, sends waiting callers away and closes idle connections, without
/// waiting for those in use; [`Pool::close`] does that.
pub fn begin_close(pool: &Pool) {
    pool.shared().begin_close();
}

/// Whether sessions behind a pool may have another value of a setting than the wanted one; `None` before the
/// first connection.
#[must_use]
pub fn setting_differs(pool: &Pool, name: &str, wanted: &str) -> Option<bool> {
    Some(pool.shared().dialler.facts()?.differs(name, wanted))
}

/// The settings that a pool says in each transaction, since its sessions are shared and the server does not have them
/// by itself: as SQL has them behind `SET`. Empty before the first connection.
#[must_use]
pub fn assignments(pool: &Pool) -> Vec<String> {
    pool.shared().dialler.assignments()
}

/// How many connections a server lets clients have.
#[expect(clippy::exhaustive_structs, reason = "app-db takes it apart")]
pub struct ConnectionLimits {
    /// Its `max_connections`.
    pub max: i64,
    /// How many of them are kept for superusers and reserved roles.
    pub reserved: i64,
}

/// The limits of the server behind a pool, as it has told the first connection.
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

/// What the wire knows of a connection.
#[must_use]
pub fn observed(connection: &Connection) -> &Arc<Observed> {
    connection.observed()
}

/// Whether a query was begun on a connection whose future was dropped, or is still there: the server may be
/// working on it, or be about to.
#[must_use]
pub fn is_unfinished(connection: &Connection) -> bool {
    connection.is_unfinished()
}
