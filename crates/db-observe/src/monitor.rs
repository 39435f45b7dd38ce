//! The monitor: looks at every pool at an interval, and keeps the results of the last looks.

pub(crate) mod pooler_figures;
pub(crate) mod ports;
pub(crate) mod probe;
pub(crate) mod sample;
pub(crate) mod server_figures;
pub(crate) mod summary;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use app_db::Database;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::monitor::probe::probe;
use crate::monitor::sample::Sample;
use crate::monitor::summary::Summary;

/// Looks at every open pool at an interval; clones share everything.
///
/// Each look opens a session beside the pool and runs `SELECT 1` on it, so a pool whose connections are all in use is
/// measured too. The look ends when the server has answered, or when the pool's `connect_timeout` has passed twice.
#[derive(Clone, Debug)]
pub struct Monitor(Arc<State>);

/// How a monitor looks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MonitorOptions {
    /// How long it waits from one look to the next; 60 s by default.
    pub interval: Duration,
    /// How many samples of each pool it keeps; 100 by default.
    pub history: usize,
    /// Whether it also asks the console of a PgBouncer; not by default. It asks as the pool's own user, so
    /// PgBouncer's `stats_users` and `auth_file` have to name that user.
    pub asks_pooler: bool,
}

#[derive(Debug)]
struct State {
    db: Database,
    options: MonitorOptions,
    /// The samples of each pool, the oldest first.
    rings: Mutex<BTreeMap<Arc<str>, VecDeque<Sample>>>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            history: 100,
            asks_pooler: false,
        }
    }
}

impl Monitor {
    /// A monitor that does nothing until it is started.
    #[must_use]
    pub fn new(db: &Database, options: MonitorOptions) -> Self {
        Self(Arc::new(State {
            db: db.clone(),
            options,
            rings: Mutex::default(),
            running: Mutex::default(),
        }))
    }

    /// Begins to look, at once and then at the interval. It does nothing if it has already begun.
    ///
    /// It ends with [`Monitor::stop`], or when the last clone is dropped. Call it inside a tokio runtime.
    pub fn start(&self) {
        let mut running = self.0.lock_running();
        if running
            .as_ref()
            .is_some_and(|running| !running.task.is_finished())
        {
            return;
        }
        let stop = CancellationToken::new();
        let looking = Looking {
            state: Arc::downgrade(&self.0),
            interval: self.0.options.interval,
            stop: stop.clone(),
        };
        let task = tokio::spawn(looking.run());
        *running = Some(Running { stop, task });
    }

    /// Ends the looks, and keeps the samples. The monitor may be started again. Calling this on a monitor that does
    /// not run does nothing.
    ///
    /// Dropping the future early stops the monitor nevertheless.
    pub async fn stop(&self) {
        let running = self.0.lock_running().take();
        if let Some(running) = running {
            running.stop.cancel();
            // A task that panicked has ended too.
            let _ended = running.task.await;
        }
    }

    /// Looks once, now, independently of the interval.
    ///
    /// Dropping the future closes the sessions that it has opened.
    pub async fn look(&self) {
        look(&self.0).await;
    }

    /// The names of the pools with samples.
    #[must_use]
    pub fn pools(&self) -> Vec<Arc<str>> {
        self.0.lock_rings().keys().cloned().collect()
    }

    /// All samples of a pool, the oldest first.
    #[must_use]
    pub fn samples(&self, pool: &str) -> Vec<Sample> {
        let rings = self.0.lock_rings();
        rings
            .get(pool)
            .map(|ring| ring.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// The latest sample of a pool.
    #[must_use]
    pub fn latest(&self, pool: &str) -> Option<Sample> {
        self.0.lock_rings().get(pool)?.back().cloned()
    }

    /// A summary of a pool's samples; `None` if there are none.
    #[must_use]
    pub fn summary(&self, pool: &str) -> Option<Summary> {
        Summary::of(&self.samples(pool))
    }

    /// The latest sample of each pool.
    pub(crate) fn all_latest(&self) -> Vec<Sample> {
        let rings = self.0.lock_rings();
        let latest = rings.values().filter_map(|ring| ring.back().cloned());
        latest.collect()
    }
}

impl State {
    fn lock_rings(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, VecDeque<Sample>>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(running) = self.lock_running().take() {
            running.stop.cancel();
        }
    }
}

/// The background task of a monitor.
///
/// Started by [`Monitor::start`], woken at the interval, ended by [`Monitor::stop`] or when the last monitor is gone.
struct Looking {
    state: Weak<State>,
    interval: Duration,
    stop: CancellationToken,
}

impl Looking {
    async fn run(self) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                _tick = ticks.tick() => {}
            }
            let Some(state) = self.state.upgrade() else {
                return;
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = look(&state) => {}
            }
        }
    }
}

async fn look(state: &State) {
    let pools = state.db.open_pools();
    let asks_pooler = state.options.asks_pooler;
    let samples = join_all(pools.iter().map(|pool| probe(pool, asks_pooler))).await;
    let mut rings = state.lock_rings();
    for sample in samples.into_iter().flatten() {
        sample.log();
        let ring = rings.entry(Arc::clone(&sample.pool)).or_default();
        ring.push_back(sample);
        let beyond = ring.len().saturating_sub(state.options.history.max(1));
        ring.drain(..beyond);
    }
}
