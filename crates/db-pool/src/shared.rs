//! The state that every part of a pool works on.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use db_config::Endpoint;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::backend::close_reason::CloseReason;
use crate::backend::live_backend::LiveBackend;
use crate::backend::slots::Slots;
use crate::backend::store::{Store, Stored};
use crate::connect::backoff::Backoff;
use crate::connect::connect_error::ConnectError;
use crate::connect::dialler::Dialler;
use crate::error::PoolError;
use crate::generation::Generations;
use crate::logins::Logins;
use crate::profile::PoolProfile;
use crate::queue::gate::Gate;
use crate::rate_limit::RateLimit;
use crate::registry::Registry;
use crate::status::{CheckoutCounts, CloseCounts, ConnectCounts, Status};

/// Where the answer to one probe goes.
pub(crate) type Question = oneshot::Sender<Result<(), ConnectError>>;

/// The state of one pool, behind its handles, its connections and its tasks.
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
    /// The channel to the prober; set with the first probe.
    pub(crate) questions: OnceLock<mpsc::UnboundedSender<Question>>,
    pub(crate) rate_limit: Option<RateLimit>,
    /// Orders changes of size and of other settings.
    pub(crate) resizing: Mutex<()>,
}

impl Shared {
    pub(crate) fn new(
        endpoint: &Endpoint,
        profile: PoolProfile,
        logins: Option<Arc<Logins>>,
    ) -> Arc<Self> {
        let max = profile.max.max(1);
        let profile = PoolProfile {
            max,
            ceiling: profile.ceiling.max(max),
            ..profile
        };
        let generations = Generations::new(endpoint.clone());
        let registry = Arc::new(Registry::new(&profile, generations, logins));
        Arc::new(Self {
            dialler: Dialler::new(endpoint, &profile),
            gate: Gate::new(max, profile.max_waiting),
            slots: Slots::new(max),
            // A drain makes the newer connection before it ends the older one.
            store: Store::new(profile.ceiling + 1),
            backoff: Arc::new(Backoff::new(
                Arc::clone(&profile.name),
                profile.reconnect.clone(),
            )),
            keeper: Notify::new(),
            questions: OnceLock::new(),
            rate_limit: profile
                .rate_limit
                .and_then(NonZeroU32::new)
                .map(|limit| RateLimit::new(limit, limit)),
            resizing: Mutex::default(),
            profile,
            registry,
        })
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.registry.name)
    }

    pub(crate) fn max(&self) -> u32 {
        self.slots.max()
    }

    pub(crate) fn wake_keeper(&self) {
        self.keeper.notify_one();
    }

    /// How many places are taken: connections that live or are being made.
    pub(crate) fn occupied(&self) -> u32 {
        self.slots.alive()
    }

    pub(crate) fn status(&self) -> Status {
        let registry = &self.registry;
        let totals = &registry.totals;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Status {
            pool: self.name(),
            generation: registry.generations.current().number,
            pooler: self.dialler.pooler(),
            breaker: self.backoff.breaker(),
            max: self.max(),
            open: registry.established(),
            idle: self.store.idle(),
            in_use: registry.in_use(),
            waiting: self.gate.waiting(),
            retiring: registry.generations.retiring(),
            connects: ConnectCounts {
                opened: count(&totals.opened),
                failed: count(&totals.connect_failures),
                newest: registry.last_connect(),
                times: registry.connect_times.quantiles(),
            },
            closed: CloseCounts {
                by_rotation: totals.closed(&[CloseReason::Retired]),
                by_idle_timeout: totals.closed(&[CloseReason::Idle]),
                by_max_idle: totals.closed(&[CloseReason::Spare]),
                by_age: totals.closed(&[CloseReason::Lifetime]),
                by_uses: totals.closed(&[CloseReason::Uses]),
                by_resize: totals.closed(&[CloseReason::Surplus, CloseReason::PoolClosed]),
                discarded: totals.closed(&CloseReason::UNFIT),
                dirty: totals.closed(&CloseReason::DIRTY),
            },
            checkouts: CheckoutCounts {
                queued: self.gate.waits.count(),
                queued_for: self.gate.waits.total(),
                waits: self.gate.waits.quantiles(),
                timed_out: count(&totals.timeouts),
                refused: count(&totals.refused),
                nested: count(&totals.nested),
            },
            long_holds: count(&totals.long_holds),
            detached: count(&totals.detached),
            resets: count(&totals.resets),
            slow_queries: count(&totals.slow_queries),
        }
    }

    /// How many idle connections should be ready.
    pub(crate) fn min_idle(&self) -> u32 {
        self.registry.settings.min_idle().min(self.max())
    }

    /// Whether `max_idle` connections are idle already and nobody waits for the one that comes back
    /// now.
    pub(crate) fn has_idle_enough(&self) -> bool {
        let most = self.registry.settings.max_idle();
        most.is_some_and(|most| self.store.idle() >= most && self.gate.waiting() == 0)
    }

    /// Closes every idle backend that must not stay, and keeps the order of the others.
    pub(crate) fn sweep(&self) {
        let overdue = self.store.sort_out(|idle| {
            let now = Instant::now();
            let is_overdue = |stored: &mut Stored| {
                stored.keep_up();
                let reason = stored.overdue(now);
                reason
                    .inspect(|reason| stored.mark_for_closing(*reason))
                    .is_some()
            };
            idle.extract_if(.., is_overdue).collect()
        });
        drop(overdue);
    }

    /// Why a caller need not wait: no attempt to connect would help it now.
    ///
    /// This is for callers that may not begin an attempt. The answer does not matter while a
    /// connection lives.
    pub(crate) fn refusal(&self) -> Option<ConnectError> {
        let logins = self.registry.logins.as_ref();
        logins
            .and_then(|logins| logins.refusal())
            .or_else(|| self.backoff.refusal())
    }

    /// Whether no live connection could come back, and nobody is looking for working credentials.
    pub(crate) fn is_hopeless(&self) -> bool {
        let alive = |live: &Arc<LiveBackend>| live.is_alive();
        let asked = |logins: &Arc<Logins>| logins.are_asked();
        self.registry.proving.load(Ordering::Acquire) == 0
            && !self.registry.logins.as_ref().is_some_and(asked)
            && !self.registry.live_backends().iter().any(alive)
    }

    /// Forgets failed logins, because a login beside the pool has succeeded.
    pub(crate) fn logins_work(&self) {
        self.backoff.forget();
        self.registry.logged_in(true);
        self.registry.changes.tell();
        self.wake_keeper();
    }

    /// Refuses checkouts from now on, sends waiting callers away and closes idle backends.
    pub(crate) fn begin_close(&self) {
        self.registry.begin_close();
        self.gate.close();
        self.sweep();
    }

    /// The error for callers of a closed pool.
    pub(crate) fn closed(&self) -> PoolError {
        PoolError::Closed { pool: self.name() }
    }
}
