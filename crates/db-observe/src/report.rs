//! Everything at one instant as plain data, for `status.json`, the page and `dbctl top`.

mod advice_report;
mod alert_report;
mod findings;
mod pool_report;
mod sample_report;
mod statement_report;
mod status_sources;
mod written;

use serde::{Deserialize, Serialize};

use crate::alerts::alert::AlertState;
use crate::report::findings::findings;
use crate::report::written::rfc3339;

pub use self::advice_report::{AdviceReport, InputReport};
pub use self::alert_report::{AlertReport, SinkReport};
pub use self::pool_report::{HolderReport, PoolReport, TimesReport};
pub use self::sample_report::{SampleReport, SummaryReport};
pub use self::statement_report::StatementReport;
pub(crate) use self::status_sources::StatusSources;

/// The whole report. `schema` is raised when a field changes its meaning or is removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StatusReport {
    /// 1.
    pub schema: u32,
    /// When it was made, as RFC 3339.
    pub at: String,
    /// Whether nothing is wrong.
    pub healthy: bool,
    /// What is wrong, one sentence for each problem, or that nothing is wrong.
    pub findings: Vec<String>,
    /// Every open pool, the write pool first.
    pub pools: Vec<PoolReport>,
    /// The twenty most expensive statements, without values.
    pub statements: Vec<StatementReport>,
    /// The alerts that fire now, then the last alerts, the newest first.
    pub alerts: Vec<AlertReport>,
    /// How the delivery of alerts goes.
    pub sinks: Vec<SinkReport>,
    /// What the load says about sizes.
    pub advice: Vec<AdviceReport>,
}

impl StatusReport {
    pub(crate) fn of(sources: &StatusSources<'_>) -> Self {
        let found = findings(sources);
        let snapshot = sources.snapshot;
        let firing = sources
            .firing
            .iter()
            .map(|alert| AlertReport::of(alert, "firing"));
        let told = sources.told.iter().rev().map(|alert| {
            let state = match alert.state {
                AlertState::Firing => "told",
                AlertState::Resolved => "resolved",
            };
            AlertReport::of(alert, state)
        });
        let advice = sources
            .advice
            .iter()
            .flat_map(|(pool, advice)| advice.iter().map(|advice| AdviceReport::of(pool, advice)));
        Self {
            schema: 1,
            at: rfc3339(sources.at),
            healthy: found.is_empty(),
            findings: match (found.is_empty(), snapshot.pools.len()) {
                (false, _) => found,
                (true, 0) => vec!["No pool is open.".to_owned()],
                (true, 1) => vec!["The pool is well.".to_owned()],
                (true, count) => vec![format!("All {count} pools are well.")],
            },
            pools: snapshot
                .pools
                .iter()
                .map(|pool| PoolReport::of(pool, snapshot, sources.monitor))
                .collect(),
            statements: sources
                .statements
                .iter()
                .take(SHOWN_STATEMENTS)
                .map(StatementReport::of)
                .collect(),
            alerts: firing.chain(told.take(SHOWN_ALERTS)).collect(),
            sinks: sources.outboxes.iter().map(SinkReport::of).collect(),
            advice: advice.collect(),
        }
    }
}

const SHOWN_STATEMENTS: usize = 20;
const SHOWN_ALERTS: usize = 20;
