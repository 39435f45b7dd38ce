//! A probe: finds out within a bound whether a pool's server answers, even if the pool is full.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::beside::prober;
use crate::checkout::validate::answers;
use crate::connect::connect_error::ConnectFailure;
use crate::error::PoolError;
use crate::shared::Shared;

/// Asks an idle connection of the pool, or a session beside the pool if none is idle. It takes no connection away
/// from a caller. `None` if no answer came in time.
pub(crate) async fn probe(
    shared: &Arc<Shared>,
    patience: Duration,
) -> Option<Result<(), PoolError>> {
    let registry = &shared.registry;
    if registry.is_closed() {
        return Some(Err(shared.closed()));
    }
    let deadline = Instant::now() + patience;
    // This comes first, so that the session already exists when the pool is full.
    let beside = prober::ask(shared);
    while registry.turns.is_empty()
        && let Some(stored) = shared.store.take()
    {
        if answers(shared, stored, deadline).await {
            return Some(Ok(()));
        }
        if Instant::now() >= deadline {
            return None;
        }
    }
    let answer = timeout_at(deadline, beside).await.ok()?.ok()?;
    let Err(source) = answer else {
        return Some(Ok(()));
    };
    // A refusal because the server has no connection left is an answer too.
    let is_full = source.failure() == ConnectFailure::TooManyConnections;
    if is_full && registry.established() > 0 {
        return Some(Ok(()));
    }
    Some(Err(PoolError::Connect {
        pool: shared.name(),
        source,
    }))
}
