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
        let server = server(name, sources);
        return Some(format!("Pool `{name}`: {diagnosis}{failure}.{server}"));
    }
    if pool.status.breaker != Breaker::Closed {
        return Some(format!(
            "Pool `{name}`: connecting fails again and again{failure}."
        ));
    }
    let sample = sources.monitor.latest(name)?;
    let unanswered = sample.outcome.err()?;
    let server = server(name, sources);
    Some(format!(
        "Pool `{name}`: the monitor got no answer: {}.{server}",
        unanswered.error
    ))
}

/// What the server did at the same time, because the server may be the cause of the pool's problem.
fn server(pool: &str, sources: &StatusSources<'_>) -> String {
    let Some(sample) = sources.monitor.latest(pool) else {
        return String::new();
    };
    let mut text = String::new();
    if let Some(server) = sample.figures().and_then(|figures| figures.server.as_ref()) {
        text = format!(" At the last look its server had {server}.");
    }
    if let Some(Ok(pooler)) = &sample.pooler {
        text = format!("{text} PgBouncer said: {pooler}.");
    }
    text
}
