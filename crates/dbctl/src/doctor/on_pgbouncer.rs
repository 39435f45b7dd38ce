//! Advice that follows from what PgBouncer says about itself.

use std::time::Duration;

use app_db::db_pool::PoolerMode;

use crate::doctor::examined::{Examined, PoolReport};
use crate::doctor::on_times::longest_idle;
use crate::doctor::one_advice::{Advice, note, problem};

/// Compares the pools with the PgBouncer that they connect through, if its console answers.
pub(super) fn on_pgbouncer(endpoint: &Examined) -> Vec<Advice> {
    let mut advice = Vec::new();
    advice.extend(on_waiting(endpoint));
    advice.extend(on_size(endpoint));
    let pools = endpoint.pools.iter();
    advice.extend(pools.clone().filter_map(|pool| on_mode(endpoint, pool)));
    advice.extend(pools.filter_map(|pool| on_idle_clients(endpoint, pool)));
    advice
}

/// No pool can see the clients that wait at PgBouncer.
fn on_waiting(endpoint: &Examined) -> Option<Advice> {
    let figures = endpoint.pooler_figures.as_ref()?;
    let longest = Duration::from_micros(figures.longest_wait_us);
    if figures.waiting == 0 {
        return None;
    }
    let message = format!(
        "{} clients wait at PgBouncer for a server connection, the next one for {longest:?}: it may have {}, and \
         {} are in use; raise its pool size, or shorten transactions",
        figures.waiting, figures.size, figures.servers_used
    );
    Some(match longest >= LONG {
        true => problem(&endpoint.name, message),
        false => note(&endpoint.name, message),
    })
}

fn on_size(endpoint: &Examined) -> Option<Advice> {
    let size = endpoint.pooler_figures.as_ref()?.size;
    (size > 0 && i64::from(size) < endpoint.configured_max).then(|| {
        let message = format!(
            "the pools of one instance take up to {} connections of PgBouncer, which has {size} server connections \
             for them: further callers wait in its queue, which no pool can see",
            endpoint.configured_max
        );
        note(&endpoint.name, message)
    })
}

/// A pool works around a pooler that shares sessions. That costs something, and is useless in session
/// mode.
fn on_mode(endpoint: &Examined, pool: &PoolReport) -> Option<Advice> {
    let is_session = endpoint.pooler_figures.as_ref()?.mode == "session";
    (is_session && pool.profile.pooler == PoolerMode::Auto).then(|| {
        let message = format!(
            "PgBouncer says that it is in session mode: pooler = \"session\" saves pool `{}` what shared sessions cost",
            pool.name
        );
        note(&endpoint.name, message)
    })
}

fn on_idle_clients(endpoint: &Examined, pool: &PoolReport) -> Option<Advice> {
    let seconds = endpoint.pooler_figures.as_ref()?.client_idle_seconds;
    let bound = Duration::from_secs(seconds);
    let (key, longest) = longest_idle(pool);
    let is_shorter = longest.is_some_and(|longest| longest < bound);
    (seconds > 0 && !is_shorter).then(|| {
        let message = format!(
            "pool `{}` may leave connections idle for longer than PgBouncer does, whose client_idle_timeout is \
             {bound:?}: set {key} below that",
            pool.name
        );
        problem(&endpoint.name, message)
    })
}

/// Longer than a queue that only smooths a burst.
const LONG: Duration = Duration::from_secs(1);
