//! The keeper: keeps idle connections ready, closes idle connections that are too old or idle for too long, and reports
//! connections that are held for too long.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::backend::close_reason::CloseReason;
use crate::backend::long_hold;
use crate::backend::store::Stored;
use crate::checkout::dial::dial_in_background;
use crate::connect::backoff::Urge;
use crate::connect::breaker::Breaker;
use crate::error::PoolError;
use crate::logins::{LoginPermit, Logins};
use crate::shared::Shared;
use crate::totals::Totals;
use crate::upkeep::rotation::log_in_beside;

/// The background task of a pool; each pool has one.
///
/// It starts with the pool. It wakes once a second, more often if the settings have short times, and whenever a
/// connection is thrown away or the settings change. It ends when the pool closes or its last handle is dropped.
pub(crate) struct Keeper {
    pool: Weak<Shared>,
    closing: CancellationToken,
    period: Duration,
}

/// How often the pool's settings need the keeper.
fn period(shared: &Shared) -> Duration {
    let settings = &shared.registry.settings;
    let times = [
        settings.idle_timeout(),
        settings.max_lifetime(),
        settings.leak_threshold(),
        shared.dialler.statement_timeout(),
    ];
    let shortest = times
        .into_iter()
        .flatten()
        .fold(LONGEST_PERIOD * 4, Duration::min);
    (shortest / 4).clamp(SHORTEST_PERIOD, LONGEST_PERIOD)
}

impl Keeper {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            pool: Arc::downgrade(shared),
            closing: shared.registry.closing.clone(),
            period: period(shared),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut ticks = interval_at(Instant::now(), self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _tick = ticks.tick() => {}
                () = self.closing.cancelled() => return,
                () = woken(&self.pool) => {}
            }
            let Some(shared) = self.pool.upgrade() else {
                return;
            };
            shared.sweep();
            end_idle(&shared);
            replenish(&shared);
            find_out(&shared);
            report_long_holds(&shared);
            cancel_overrunning(&shared);
            cut_silent(&shared);
            let period = period(&shared);
            if period != self.period {
                self.period = period;
                ticks = interval_at(Instant::now() + period, period);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            }
        }
    }
}

/// Resolves when the pool wakes the keeper. Holds the pool only while it waits for that.
async fn woken(pool: &Weak<Shared>) {
    match pool.upgrade() {
        Some(shared) => shared.keeper.notified().await,
        None => std::future::pending().await,
    }
}

/// Closes idle connections that have been idle for too long and are not needed for `min_idle`, that exceed `max_idle`,
/// or that are surplus since the pool has shrunk.
fn end_idle(shared: &Shared) {
    let ended = shared.store.sort_out(|idle| not_needed(shared, idle));
    drop(ended);
}

fn not_needed(shared: &Shared, idle: &mut Vec<Stored>) -> Vec<Stored> {
    let settings = &shared.registry.settings;
    let needed = shared.min_idle() as usize;
    let most = settings.max_idle().map_or(usize::MAX, |most| most as usize);
    let now = Instant::now();
    // The connection that has been idle longest comes last. The store has this order, except that new connections come
    // in between.
    idle.sort_by_key(|stored| stored.idle_for(now));
    let mut ended = Vec::new();
    while idle.len() > needed || shared.slots.surplus() > 0 {
        let Some(mut stalest) = idle.pop() else {
            break;
        };
        let too_long = settings
            .idle_timeout()
            .is_some_and(|bound| stalest.idle_for(now) >= bound && !shared.registry.spares());
        if stalest.leave_if_surplus() {
            stalest.mark_for_closing(CloseReason::Surplus);
        } else if too_long {
            stalest.mark_for_closing(CloseReason::Idle);
        } else if idle.len() >= most {
            stalest.mark_for_closing(CloseReason::Spare);
        } else {
            idle.push(stalest);
            break;
        }
        ended.push(stalest);
    }
    ended
}

/// Dials as many connections as are missing for `min_idle`. While the breaker is open it dials one, to find out whether
/// the server is back.
fn replenish(shared: &Arc<Shared>) {
    if shared.registry.is_closed() {
        return;
    }
    let idle = shared.store.idle();
    let ending = shared.registry.being_closed.load(Ordering::Acquire);
    let coming = shared
        .occupied()
        .saturating_sub(idle + shared.registry.in_use() + ending);
    let doubtful = shared.backoff.breaker() != Breaker::Closed && shared.is_hopeless();
    let wanted = shared.min_idle().max(doubtful.into());
    for _ in idle + coming..wanted {
        // The task itself handles the new connection, or the failure.
        let Ok(_report) = dial_in_background(shared, Urge::Keeper) else {
            return;
        };
    }
}

/// If the pool keeps connections only because no login has worked, logs in beside the pool to find out whether logins
/// work now. A pool that is full of such connections would not try by itself.
fn find_out(shared: &Arc<Shared>) {
    let registry = &shared.registry;
    let has_owner = |logins: &Arc<Logins>| logins.are_stopped();
    if registry.is_closed()
        || !registry.has_spared()
        || registry.logins.as_ref().is_some_and(has_owner)
    {
        return;
    }
    let logins = registry.logins.as_ref();
    let beginning = shared
        .backoff
        .begin(Urge::Keeper, || LoginPermit::take(logins));
    let Ok((attempt, permit)) = beginning else {
        return;
    };
    let pool = Arc::clone(shared);
    registry.spawn(async move {
        let endpoint = pool.registry.generations.current().endpoint.clone();
        match log_in_beside(&pool, endpoint).await {
            Ok(_beside) => {
                attempt.succeeded();
                pool.logins_work();
            }
            Err(PoolError::Connect { source, .. }) => {
                permit.failed(&source);
                attempt.failed(source);
            }
            Err(_closed) => {}
        }
    });
}

/// Reports every hold that has become too long since the last call.
fn report_long_holds(shared: &Shared) {
    let Some(threshold) = shared.registry.settings.leak_threshold() else {
        return;
    };
    if shared.registry.in_use() == 0 {
        return;
    }
    for live in shared.registry.live_backends() {
        if let Some(hold) = live.newly_long(threshold) {
            Totals::count(&shared.registry.totals.long_holds);
            long_hold::report(&shared.registry.name, &hold);
        }
    }
}

/// Cancels statements that have run for `statement_timeout` if the server does not know that bound. This happens if a
/// pooler shares the session: outside a transaction, the wire puts only settings before a statement that change its
/// result.
fn cancel_overrunning(shared: &Arc<Shared>) {
    let Some(timeout) = shared.dialler.statement_timeout() else {
        return;
    };
    for live in shared.registry.live_backends() {
        if live.overruns(timeout) {
            tracing::info!(
                target: "app_db::pool",
                pool = &*shared.registry.name,
                call_site = live.call_site().map(tracing::field::display),
                timeout_ms = timeout.as_millis() as u64,
                "a statement outside a transaction is cancelled at its statement_timeout"
            );
            shared.registry.spawn(async move { live.cancel().await });
        }
    }
}

/// Closes connections whose server has left a request unanswered for longer than statements may take: its processes are
/// stopped, a pooler in front of it is paused, or the network has lost the connection.
fn cut_silent(shared: &Arc<Shared>) {
    let timeout = shared.dialler.statement_timeout();
    for live in shared.registry.live_backends() {
        let silent = live.silent_for();
        let Some(bound) = live.may_be_silent_for(&shared.profile, timeout) else {
            continue;
        };
        if silent < bound || live.is_cut() {
            continue;
        }
        tracing::warn!(
            target: "app_db::pool",
            pool = &*shared.registry.name,
            call_site = live.call_site().map(tracing::field::display),
            silent_ms = silent.as_millis() as u64,
            "the server is silent, and the connection is closed"
        );
        live.cut(format!(
            "no answer for {} ms, the server is silent",
            silent.as_millis()
        ));
    }
}

const SHORTEST_PERIOD: Duration = Duration::from_millis(50);
const LONGEST_PERIOD: Duration = Duration::from_secs(1);
