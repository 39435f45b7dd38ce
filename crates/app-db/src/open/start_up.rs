//! Warms up a pool that has just been opened, and logs its profile.

use std::time::Duration;

use db_pool::Pool;

/// Waits until every pool has its `min_idle` connections, so that the first requests find them. It warns
/// and goes on if a server is down or refuses some of them.
pub(crate) async fn warm_up(write: &Pool, replicas: &[Pool], patience: Duration) {
    let warming = std::iter::once(write).chain(replicas).map(async |pool| {
        if !pool.warm_up(patience).await {
            tracing::warn!(target: "app_db::start_up",
                pool = pool.name(),
                min_idle = pool.profile().min_idle,
                open = pool.status().open,
                "fewer connections than wanted are ready at the start"
            );
        }
    });
    futures_util::future::join_all(warming).await;
}

/// Logs the settings of a pool.
pub(crate) fn log_profile(pool: &Pool) {
    let profile = pool.profile();
    tracing::info!(target: "app_db::start_up",
        pool = pool.name(),
        address = pool.address(),
        user = pool.user(),
        min_idle = profile.min_idle,
        max = profile.max,
        ceiling = profile.ceiling,
        max_waiting = profile.max_waiting,
        checkout_timeout = ?profile.checkout_timeout,
        connect_timeout = ?profile.connect_timeout,
        idle_timeout = profile.idle_timeout.map(tracing::field::debug),
        max_lifetime = profile.max_lifetime.map(tracing::field::debug),
        max_uses = profile.max_uses,
        statement_timeout = profile.statement_timeout.map(tracing::field::debug),
        slow_query = profile.slow_query.map(tracing::field::debug),
        "pool opened"
    );
}
