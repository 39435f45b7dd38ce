//! The error of a caller whose time is up, with everything that explains it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::checkout::diagnosis::facts::{Facts, WaitStage};
use crate::checkout::queued::Queued;
use crate::checkout::trouble::holds;
use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::error::PoolError;
use crate::shared::Shared;
use crate::totals::Totals;

/// Counts the timeout, and makes the error.
pub(crate) fn timed_out(shared: &Shared, queued: &Queued, stage: WaitStage) -> PoolError {
    Totals::count(&shared.registry.totals.timeouts);
    let holds = holds(shared);
    let longest = holds.first();
    let longest_held = longest.map(|hold| (hold.held, hold.call_site));
    let waited = Duration::from_millis(queued.arrived.elapsed().as_millis() as u64);
    let status = shared.status();
    let dialling = shared.occupied().saturating_sub(status.open);
    let last_failure = shared.backoff.last_failure().or_else(|| {
        // No attempt has failed yet, because the first one is still running: the server is silent.
        let silent = status.open == 0 && dialling > 0;
        let address = shared.registry.generations.current().endpoint.address();
        silent.then(|| {
            ConnectError::new(&address, ConnectFailure::TimedOut)
                .at(shared.dialler.stage())
                .explained(format!("no answer within {waited:?}"))
        })
    });
    let facts = Facts {
        waited,
        stage,
        max: status.max,
        open: status.open,
        dialling,
        unanswered: shared.registry.unanswered.load(Ordering::Acquire),
        failure: last_failure.as_ref().map(ConnectError::failure),
        is_silent: shared.registry.sign_of_life.is_missing(),
        by_pooler: status.pooler.stands_between(),
        task: tokio::task::try_id(),
        served: shared.registry.handed_out() - queued.handed_out,
        leak_threshold: shared.registry.settings.leak_threshold(),
        holds,
    };
    PoolError::Timeout {
        pool: shared.name(),
        waited,
        status: Box::new(status),
        longest_held,
        diagnosis: Box::new(facts.diagnose()),
        last_failure,
    }
}
