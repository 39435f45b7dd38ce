//! The registry: what a pool knows about its backends, and what the backends know about their pool.
//!
//! The store holds backends, and backends hold the registry. The pool holds both, so there is no cycle.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::live_backend::LiveBackend;
use crate::changes::Changes;
use crate::connect::phases::ConnectPhases;
use crate::generation::Generations;
use crate::histogram::Histogram;
use crate::logins::Logins;
use crate::pool_runtime::PoolRuntime;
use crate::pool_times::PoolTimes;
use crate::profile::PoolProfile;
use crate::queue::turns::Turns;
use crate::settings::LiveSettings;
use crate::sign_of_life::SignOfLife;
use crate::telemetry::statement_stats::StatementTable;
use crate::totals::Totals;

/// Shared by the backends of one pool.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) name: Arc<str>,
    pub(crate) generations: Generations,
    pub(crate) totals: Totals,
    pub(crate) settings: LiveSettings,
    pub(crate) times: PoolTimes,
    pub(crate) statements: StatementTable,
    pub(crate) changes: Arc<Changes>,
    /// The logins that the pool shares with other pools of the same credentials. A pool with its own credentials
    /// has none.
    pub(crate) logins: Option<Arc<Logins>>,
    /// Whether the last login failed. Then the pool could not replace a connection that it closes.
    no_login_works: AtomicBool,
    /// Whether the pool has kept a connection for that reason since the keeper's last look.
    any_spared: AtomicBool,
    /// Whose turn it is to get a connection.
    pub(crate) turns: Turns,
    /// How many connections are established and not yet closed by the server.
    pub(crate) established: AtomicU32,
    /// How many of these are being closed.
    pub(crate) being_closed: AtomicU32,
    /// How many have come back and wait for the rest of an answer, or for the reset of their session.
    pub(crate) settling: AtomicU32,
    /// How many rotations are proving new credentials.
    pub(crate) proving: AtomicU32,
    /// How many connections the pool has pinged without an answer. A connection that the pool has given up on
    /// counts until its place is free.
    pub(crate) unanswered: AtomicU32,
    /// Whether the server answered when waiting callers asked for a sign of life.
    pub(crate) sign_of_life: SignOfLife,
    /// How many connections are handed out.
    pub(crate) in_use: AtomicU32,
    /// How many have ever been handed out.
    pub(crate) handed_out: AtomicU64,
    /// Whether any live connection may have outdated descriptions of types and columns.
    any_outdated: AtomicBool,
    outdated_before: Mutex<Option<tokio::time::Instant>>,
    /// Set once, when the pool begins to close, and before `closing`.
    closed: AtomicBool,
    pub(crate) closing: CancellationToken,
    live_backends: Mutex<Vec<Weak<LiveBackend>>>,
    last_connect: Mutex<Option<ConnectPhases>>,
    pub(crate) connect_times: Histogram,
    /// How many sessions live beside the pool's connections: the sessions of listeners and of the prober.
    pub(crate) beside: AtomicU32,
    /// How many guards of open transactions there are.
    pub(crate) guards: AtomicU32,
    runtime: PoolRuntime,
}

impl Registry {
    pub(crate) fn new(
        profile: &PoolProfile,
        generations: Generations,
        logins: Option<Arc<Logins>>,
    ) -> Self {
        let changes = Arc::default();
        if let Some(logins) = &logins {
            logins.enlist(&changes);
        }
        Self {
            statements: StatementTable::new(Arc::clone(&profile.name)),
            name: Arc::clone(&profile.name),
            settings: LiveSettings::new(profile),
            times: PoolTimes::default(),
            generations,
            totals: Totals::default(),
            changes,
            logins,
            no_login_works: AtomicBool::new(false),
            any_spared: AtomicBool::new(false),
            turns: Turns::default(),
            established: AtomicU32::new(0),
            being_closed: AtomicU32::new(0),
            settling: AtomicU32::new(0),
            proving: AtomicU32::new(0),
            unanswered: AtomicU32::new(0),
            sign_of_life: SignOfLife::default(),
            in_use: AtomicU32::new(0),
            handed_out: AtomicU64::new(0),
            any_outdated: AtomicBool::new(false),
            outdated_before: Mutex::default(),
            closed: AtomicBool::new(false),
            closing: CancellationToken::new(),
            live_backends: Mutex::default(),
            last_connect: Mutex::default(),
            connect_times: Histogram::default(),
            beside: AtomicU32::new(0),
            guards: AtomicU32::new(0),
            runtime: PoolRuntime::default(),
        }
    }

    /// Notes that one connection has outdated descriptions. Connections that were made before `now` may have the
    /// same ones.
    pub(crate) fn outdate(&self, now: tokio::time::Instant) {
        *self
            .outdated_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(now);
        self.any_outdated.store(true, Ordering::Release);
    }

    /// Whether a connection that was made at `made` may have outdated descriptions.
    pub(crate) fn is_outdated(&self, made: tokio::time::Instant) -> bool {
        self.any_outdated.load(Ordering::Acquire)
            && self
                .outdated_before
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_some_and(|before| made < before)
    }

    /// Notes how the last login went.
    pub(crate) fn logged_in(&self, works: bool) {
        self.no_login_works.store(!works, Ordering::Release);
    }

    /// Whether to keep a connection that should be closed, because the pool could not make another one now.
    pub(crate) fn spares(&self) -> bool {
        let spares = self.no_login_works.load(Ordering::Acquire);
        if spares {
            self.any_spared.store(true, Ordering::Release);
        }
        spares
    }

    /// Whether the pool has kept any for that reason since the last call.
    pub(crate) fn has_spared(&self) -> bool {
        self.any_spared.swap(false, Ordering::AcqRel) && self.no_login_works.load(Ordering::Acquire)
    }

    pub(crate) fn begin_close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.closing.cancel();
    }

    /// It does not take the lock of `closing`, because every checkout and every return asks.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Gives the pool the current runtime, unless the pool has one.
    pub(crate) fn begin(&self) {
        self.runtime.begin();
    }

    /// Runs a task on the runtime of the pool. The pool's sockets live there, and it lasts longer than the
    /// runtime of the code that happens to drop a connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Every task that dials, settles or ends a connection.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.runtime.tasks
    }

    pub(crate) fn connected(&self, phases: ConnectPhases) {
        self.connect_times.record(phases.total());
        self.times.connected(&phases);
        *self
            .last_connect
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(phases);
    }

    /// How long the parts of the newest connection took.
    pub(crate) fn last_connect(&self) -> Option<ConnectPhases> {
        *self
            .last_connect
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enlist(&self, live: &Arc<LiveBackend>) {
        let mut live_backends = self.lock_live_backends();
        live_backends.retain(|live| live.strong_count() > 0);
        live_backends.push(Arc::downgrade(live));
    }

    /// Every backend that is alive.
    pub(crate) fn live_backends(&self) -> Vec<Arc<LiveBackend>> {
        self.lock_live_backends()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    pub(crate) fn established(&self) -> u32 {
        self.established.load(Ordering::Acquire)
    }

    pub(crate) fn handed_out(&self) -> u64 {
        self.handed_out.load(Ordering::Relaxed)
    }

    /// Notes that a connection was handed out to a caller that has waited for `waited` in all.
    pub(crate) fn connection_handed_out(&self, waited: Duration) {
        self.in_use.fetch_add(1, Ordering::AcqRel);
        self.handed_out.fetch_add(1, Ordering::Relaxed);
        self.times.checked_out(waited);
    }

    /// Notes that a connection came back, and tells a closing pool, which waits for the last one. Either this
    /// call sees that the pool is closing, or the close sees the new count: both write before they look, and
    /// `SeqCst` puts all of it in one order.
    pub(crate) fn connection_returned(&self, held: Duration) {
        self.times.held(held);
        self.in_use.fetch_sub(1, Ordering::SeqCst);
        if self.is_closed() {
            self.changes.tell();
        }
    }

    pub(crate) fn in_use(&self) -> u32 {
        self.in_use.load(Ordering::SeqCst)
    }

    fn lock_live_backends(&self) -> std::sync::MutexGuard<'_, Vec<Weak<LiveBackend>>> {
        self.live_backends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one backend that has come back and is not idle yet.
pub(crate) struct Settling(Arc<Registry>);

impl Settling {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        registry.settling.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(registry))
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.0.settling.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts one backend that was pinged and has not answered yet.
pub(crate) struct Unanswered(Arc<Registry>);

impl Unanswered {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        registry.unanswered.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(registry))
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.unanswered.fetch_sub(1, Ordering::AcqRel);
    }
}
