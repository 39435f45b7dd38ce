//! Findings: what is wrong, in sentences.

use app_db::db_pool::{Breaker, PoolSnapshot};

use crate::report::status_sources::StatusSources;

/// One sentence for each problem, the worst first; empty if nothing is wrong.
pub(crate) fn findings(sources: &StatusSources<'_>) -> Vec<String> {
    let mut findings = Vec::new();
    for pool in &sources.snapshot.pools {
        findings.extend(of_pool(pool, sources));
    }
    for alert in sources.firing {
        findings.push(format!("{}: {}.", alert.level, alert.message));
    }
    findings
}

fn of_pool(pool: &PoolSnapshot, sources: &StatusSources<'_>) -> Option<String> {
    let name = &pool.status.pool;
    let failure = pool.last_failure.as_ref();
    let failure = failure.map_or_else(String::new, |failure| format!(" ({failure})"));
    if let Some(diagnosis) = &pool.diagnosis {
        return Some(format!("Pool `{name}`: {diagnosis}{failure}."));
    }
    if pool.status.breaker != Breaker::Closed {
        return Some(format!(
            "Pool `{name}`: connecting fails again and again{failure}."
        ));
    }
    let sample = sources.monitor.latest(name)?;
    let unanswered = sample.outcome.err()?;
    Some(format!(
        "Pool `{name}`: the monitor got no answer: {}.",
        unanswered.error
    ))
}
