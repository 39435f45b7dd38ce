//! Advice on the timeouts of the server and of the pools.

use std::time::Duration;

use app_db::db_pool::PoolProfile;

use crate::doctor::examined::{Examined, PoolReport};
use crate::doctor::one_advice::{Advice, note, problem};

/// Compares the times of a pool with the server's own.
pub(super) fn on_times(endpoint: &Examined, pool: &PoolReport) -> Vec<Advice> {
    let mut advice = Vec::new();
    advice.extend(on_idleness(endpoint, pool));
    advice.extend(on_transactions(endpoint, &pool.profile));
    advice.extend(on_endless_work(endpoint, &pool.profile));
    advice
}

/// Compares how long the pool and the server leave a connection idle. The one with the shorter time ends it, and if
/// that is the server, a caller meets a dead connection. Connections that `min_idle` keeps are idle until
/// `max_lifetime`.
fn on_idleness(endpoint: &Examined, pool: &PoolReport) -> Option<Advice> {
    let servers = endpoint.idle_session_timeout_ms.and_then(duration)?;
    let (key, longest) = longest_idle(pool);
    if longest.is_some_and(|longest| longest < servers) {
        return None;
    }
    let message = format!(
        "pool `{}` may leave connections idle for longer than the server does, whose idle_session_timeout is \
         {servers:?}: set {key} below that",
        pool.name
    );
    Some(problem(&endpoint.name, message))
}

/// How long a connection of a pool may be idle at most, and the key that says so.
pub(super) fn longest_idle(pool: &PoolReport) -> (&'static str, Option<Duration>) {
    let profile = &pool.profile;
    match profile.min_idle {
        0 => (
            "idle_timeout",
            profile.idle_timeout.or(profile.max_lifetime),
        ),
        _ => ("max_lifetime", profile.max_lifetime),
    }
}

/// Finds a server that ends transactions before the pool ends one of their statements.
fn on_transactions(endpoint: &Examined, profile: &PoolProfile) -> Option<Advice> {
    let servers = endpoint.transaction_timeout_ms.and_then(duration)?;
    let pools = profile.statement_timeout?;
    (servers <= pools).then(|| {
        let message = format!(
            "pool `{}` lets a statement run for {pools:?}, but the server ends each transaction after {servers:?} \
             (transaction_timeout): set statement_timeout below that",
            profile.name
        );
        problem(&endpoint.name, message)
    })
}

/// Finds out whether nobody ends a statement, or a transaction that its holder has forgotten.
fn on_endless_work(endpoint: &Examined, profile: &PoolProfile) -> Vec<Advice> {
    let endless = [
        (
            "statement_timeout",
            profile.statement_timeout,
            endpoint.statement_timeout_ms,
        ),
        (
            "idle_in_transaction_session_timeout",
            profile.idle_in_transaction_session_timeout,
            endpoint.idle_in_transaction_session_timeout_ms,
        ),
    ];
    let advice = endless.into_iter().filter_map(|(key, pools, servers)| {
        let is_bounded = pools.is_some() || servers.is_some();
        (!is_bounded).then(|| {
            let message = format!(
                "pool `{}` has no {key}, and neither has the server: work that hangs keeps its locks for ever",
                profile.name
            );
            note(&endpoint.name, message)
        })
    });
    advice.collect()
}

fn duration(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}
