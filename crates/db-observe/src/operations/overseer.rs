//! The overseer: looks at all pools at an interval, for rules and sizes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use app_db::db_pool::{Sizing, plumbing};
use app_db::{Pool, PoolSnapshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::alerts::reading::Readings;
use crate::operations::watched::Watched;
use crate::sizing::{SizeChange, Sizer, SizingInputs, Slowness};

/// The background task of [`Operations`](crate::Operations).
///
/// Started with them, woken at an interval, ended together with them.
pub(crate) struct Overseer {
    watched: Arc<Watched>,
    interval: Duration,
    sizing_interval: Duration,
    stop: CancellationToken,
    readings: Readings,
    sized: HashMap<Arc<str>, Sized>,
}

/// A pool whose size follows its load.
struct Sized {
    sizer: Sizer,
    slowness: Slowness,
    looked_at: Option<Instant>,
    is_slower: bool,
}

impl Overseer {
    pub(crate) fn new(
        watched: Arc<Watched>,
        interval: Duration,
        sizing_interval: Duration,
        stop: CancellationToken,
    ) -> Self {
        Self {
            watched,
            interval,
            sizing_interval,
            stop,
            readings: Readings::default(),
            sized: HashMap::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                _tick = ticks.tick() => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let (now, at) = (Instant::now(), SystemTime::now());
        let snapshot = self.watched.db.snapshot();
        let mut readings = Vec::with_capacity(snapshot.pools.len());
        for pool in &snapshot.pools {
            let sample = self.watched.monitor.latest(&pool.status.pool);
            readings.push(self.readings.read(now, pool, sample.as_ref()));
            if pool.sizing == Sizing::Adaptive {
                self.size(now, pool);
            }
        }
        let lives = |name: &str| snapshot.pools.iter().any(|pool| *pool.status.pool == *name);
        self.readings.retain(lives);
        self.sized.retain(|name, _| lives(name));
        let alerts = self.watched.lock_rules().update(now, at, &readings);
        for alert in alerts {
            self.watched.tell(alert);
        }
        self.watched.remember(now, snapshot);
    }

    fn size(&mut self, now: Instant, snapshot: &PoolSnapshot) {
        let pools = self.watched.db.open_pools();
        let name = &snapshot.status.pool;
        let Some(pool) = pools.iter().find(|pool| pool.name() == &**name) else {
            return;
        };
        let every = self.sizing_interval;
        let sized = self.sized.entry(Arc::clone(name)).or_insert_with(|| Sized {
            sizer: Sizer::new(every),
            slowness: Slowness::default(),
            looked_at: None,
            is_slower: false,
        });
        if sized
            .looked_at
            .is_none_or(|last| now.duration_since(last) >= every)
        {
            sized.looked_at = Some(now);
            let slower = sized.slowness.update(plumbing::statement_times(pool));
            sized.is_slower = slower.is_some_and(|ratio| ratio > TOLERATED);
        }
        let is_slower = sized.is_slower;
        let inputs = SizingInputs::of(snapshot);
        if let Some(change) = sized.sizer.observe(now, &inputs, || is_slower) {
            apply(pool, &inputs, &change);
        }
    }
}

/// Changes a pool's size, and says why.
fn apply(pool: &Pool, before: &SizingInputs, change: &SizeChange) {
    let changed = pool.reconfigure(|settings| {
        settings.max = change.max;
        settings.min_idle = change.min_idle;
        settings.max_idle = change.max_idle;
    });
    match changed {
        Ok(_settings) => tracing::info!(
            target: "app_db::sizing",
            pool = pool.name(),
            from = before.max,
            to = change.max,
            min_idle = change.min_idle,
            max_idle = change.max_idle,
            cause = change.cause,
            "the size of the pool follows its load"
        ),
        // Somebody has changed the settings at this moment. The next look uses the new ones.
        Err(error) => tracing::debug!(
            target: "app_db::sizing",
            pool = pool.name(),
            %error,
            "the size of the pool stays"
        ),
    }
}

/// If statements take this many times as long as before, the server has enough to do.
const TOLERATED: f64 = 1.5;
