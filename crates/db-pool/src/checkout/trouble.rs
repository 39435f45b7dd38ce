//! What is wrong with a pool at this moment, while callers still wait.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::backend::hold::Hold;
use crate::checkout::diagnosis::Diagnosis;
use crate::checkout::diagnosis::facts::{Facts, WaitStage};
use crate::connect::connect_error::ConnectError;
use crate::fingerprint::Fingerprint;
use crate::shared::Shared;

/// The holds, with `?` for everything in their statements that may be a value, because many people may read
/// them.
pub(crate) fn without_values(mut holds: Vec<Hold>) -> Vec<Hold> {
    for hold in &mut holds {
        let statement = hold.statement.take();
        let folded = statement.map(|text| Fingerprint::of(text.as_bytes()).text);
        hold.statement = folded.map(|text| (*text).into());
    }
    holds
}

/// The present holds, the longest first.
pub(crate) fn holds(shared: &Shared) -> Vec<Hold> {
    let live_backends = shared.registry.live_backends();
    let mut holds: Vec<_> = live_backends
        .iter()
        .filter_map(|live| live.hold())
        .collect();
    holds.sort_by_key(|hold| std::cmp::Reverse(hold.held));
    holds
}

/// The diagnosis for the caller that has waited longest. If nobody waits, it names a problem that will make
/// callers wait: a server that is gone, connections that do not answer, or a leak. `None` if nothing is wrong.
pub(crate) fn trouble(shared: &Shared, holds: &[Hold]) -> Option<Diagnosis> {
    let registry = &shared.registry;
    let failure = shared.backoff.last_failure();
    let failure = failure.as_ref().map(ConnectError::failure);
    let open = registry.established();
    let unanswered = registry.unanswered.load(Ordering::Acquire);
    if let (Some((waited, served)), true) = (shared.gate.longest_wait(), open > 0) {
        let facts = Facts {
            waited: waited.max(A_MOMENT),
            stage: WaitStage::Gate,
            max: shared.max(),
            open,
            dialling: shared.occupied().saturating_sub(open),
            unanswered,
            failure,
            is_silent: registry.sign_of_life.is_missing(),
            by_pooler: shared.dialler.pooler().stands_between(),
            task: None,
            served,
            leak_threshold: registry.settings.leak_threshold(),
            holds: holds.to_vec(),
        };
        return Some(facts.diagnose());
    }
    match failure {
        Some(failure) if open == 0 => return Some(Diagnosis::Unreachable { failure }),
        Some(failure) if !registry.turns.is_empty() => {
            return Some(Diagnosis::CannotGrow { open, failure });
        }
        _ if unanswered > 0 => return Some(Diagnosis::Silent { unanswered }),
        _ => {}
    }
    let threshold = registry.settings.leak_threshold()?;
    let mut leaked = holds
        .iter()
        .filter(|hold| hold.is_idle() && hold.held >= threshold);
    let longest = leaked.next()?.clone();
    let count = 1 + leaked.count() as u32;
    Some(Diagnosis::Leaked { count, longest })
}

/// A shorter hold is not why somebody waits, even if that wait is short so far.
const A_MOMENT: Duration = Duration::from_secs(1);
