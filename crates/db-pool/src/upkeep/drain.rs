//! The drain: how connections with older credentials leave after a rotation.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::backend::close_reason::CloseReason;
use crate::backend::live_backend::LiveBackend;
use crate::backend::store::Stored;
use crate::checkout::dial::dial_in_background;
use crate::connect::backoff::{NotNow, Urge};
use crate::connect::connect_error::ConnectFailure;
use crate::generation::Generation;
use crate::shared::Shared;

/// How fast connections with older credentials leave.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "app-db makes it")]
pub struct DrainRules {
    /// The time over which the pool replaces idle ones one by one, at most half a second apart; zero ends them at
    /// once.
    pub spread: Duration,
    /// After how long the pool cancels connections that are still held; `None` waits until they come back.
    pub limit: Option<Duration>,
}

/// Lets idle connections stay until their turn in the drain, and returns how many there are.
///
/// Call it before the new credentials are in place, so that no other code ends an idle connection in between.
pub(crate) fn spare_idle(shared: &Shared, spread: Duration) -> u32 {
    let mut spared = 0;
    if !spread.is_zero() {
        let until = Instant::now() + spread;
        shared.store.sort_out(|idle| {
            for stored in idle.iter_mut() {
                stored.spare_until(until);
                spared += 1;
            }
            Vec::new()
        });
    }
    spared
}

/// The background task of a rotation; one for each pool.
///
/// It starts when the new credentials are in place. It replaces each idle connection in its turn, and makes the new
/// one first: for that moment a full pool has one connection more than its size. The pool itself closes held
/// connections when they come back; the task cancels those held for longer than the limit. It ends when no older
/// connection is left, when the next rotation takes its place, or with the pool.
pub(crate) struct Drain {
    pool: Weak<Shared>,
    /// The generation that it makes room for.
    number: u64,
    older: Vec<Arc<Generation>>,
    /// The time between two replacements.
    step: Duration,
    limit: Option<Instant>,
    /// Whether the server has no room for one connection more than the pool's size, so that the older one goes
    /// first.
    is_tight: bool,
}

impl Drain {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        number: u64,
        older: Vec<Arc<Generation>>,
        spared: u32,
        rules: DrainRules,
    ) -> Self {
        Self {
            pool: Arc::downgrade(shared),
            number,
            older,
            step: (rules.spread / spared.max(1)).min(LONGEST_STEP),
            limit: rules.limit.map(|limit| Instant::now() + limit),
            is_tight: false,
        }
    }

    pub(crate) async fn run(mut self) {
        let Some(closing) = self
            .pool
            .upgrade()
            .map(|pool| pool.registry.closing.clone())
        else {
            return;
        };
        let _closed = closing.run_until_cancelled(self.drain()).await;
    }

    async fn drain(&mut self) {
        let mut next = Instant::now();
        let mut pause = SHORTEST_PAUSE;
        loop {
            let older = self.older.iter().map(|generation| generation.drained());
            let drained = futures_util::future::join_all(older);
            let limit = self.limit;
            tokio::select! {
                biased;
                _all = drained => return,
                () = sleep_until(limit.unwrap_or(next)), if limit.is_some() => {
                    self.limit = None;
                    self.cut_off().await;
                }
                () = sleep_until(next) => {
                    let Some(shared) = self.pool.upgrade() else {
                        return;
                    };
                    if shared.registry.generations.current().number != self.number {
                        return;
                    }
                    if self.replace_one(&shared).await {
                        // The task does not catch up after a delay, as the server has to serve other logins too.
                        next = Instant::now().max(next + self.step);
                        pause = SHORTEST_PAUSE;
                    } else {
                        // The connection whose turn it is is in use, or the server accepts no login now.
                        next = Instant::now() + self.step.max(pause);
                        pause = LONGEST_PAUSE.min(pause * 2);
                    }
                }
            }
        }
    }

    /// Ends idle connections, and cancels held ones.
    async fn cut_off(&self) {
        let Some(shared) = self.pool.upgrade() else {
            return;
        };
        let mut held = shared.registry.live_backends();
        let is_older = |live: &Arc<LiveBackend>| live.is_held() && live.generation() < self.number;
        held.retain(is_older);
        if !held.is_empty() {
            tracing::warn!(target: "app_db::pool",
                pool = &*shared.registry.name,
                held = held.len(),
                generation = self.number,
                "connections with older credentials are held beyond the drain limit and are cancelled"
            );
        }
        shared.store.sort_out(|idle| {
            for stored in idle.iter_mut() {
                stored.spare_until(Instant::now());
            }
            Vec::new()
        });
        shared.sweep();
        futures_util::future::join_all(held.iter().map(|live| live.cancel())).await;
    }

    /// Replaces one idle connection with older credentials; `false` if none was idle, or the pool could make no new
    /// one.
    async fn replace_one(&mut self, shared: &Arc<Shared>) -> bool {
        let mut any = false;
        shared.store.sort_out(|idle| {
            any = idle.iter().any(|stored| is_older(shared, stored));
            Vec::new()
        });
        if !any {
            return false;
        }
        // Held until the older one is on its way out.
        let _loan = match self.is_tight {
            true => None,
            false => shared.slots.lend(),
        };
        match dial_in_background(shared, Urge::Drain) {
            // The channel closes without a failure when the new connection is stored.
            Ok(report) => {
                if let Ok(error) = report.await {
                    let is_full = error.failure() == ConnectFailure::TooManyConnections;
                    self.is_tight |= is_full && shared.occupied() >= shared.max();
                    return false;
                }
            }
            // There is no room for another connection before the older one has gone.
            Err(NotNow::UntilChange) if self.is_tight && shared.occupied() >= shared.max() => {}
            Err(_not_now) => return false,
        }
        let ended = shared.store.sort_out(|idle| {
            let older = idle.iter().rposition(|stored| is_older(shared, stored));
            let mut ended: Vec<_> = older.map(|at| idle.remove(at)).into_iter().collect();
            for stored in &mut ended {
                stored.mark_for_closing(CloseReason::Retired);
            }
            ended
        });
        drop(ended);
        shared.wake_keeper();
        true
    }
}

fn is_older(shared: &Shared, stored: &Stored) -> bool {
    let generations = &shared.registry.generations;
    !stored
        .member()
        .is_some_and(|member| generations.is_current(member))
}

/// The longest step: a few connections do not overrun the server, and need not wait for the end of the spread.
const LONGEST_STEP: Duration = Duration::from_millis(500);

/// How soon the task looks again if it could replace none. The pause doubles with each try.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
