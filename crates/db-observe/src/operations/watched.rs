//! The state that the overseer shares with the handles of operations.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use app_db::{Database, Snapshot};
use tokio::time::Instant;

use crate::advice::{Advice, Load};
use crate::alerts::alert::Alert;
use crate::alerts::outbox::Outbox;
use crate::alerts::rule_states::RuleStates;
use crate::metrics::exporter::Exporter;
use crate::monitor::Monitor;

/// What the task and the handles share.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) db: Database,
    pub(crate) monitor: Monitor,
    pub(crate) exporter: Exporter,
    pub(crate) rules: Mutex<RuleStates>,
    pub(crate) outboxes: Vec<Arc<Outbox>>,
    /// The last alerts, the oldest first.
    pub(crate) told: Mutex<VecDeque<Arc<Alert>>>,
    /// A snapshot of each of the last minutes, the oldest first.
    pub(crate) earlier: Mutex<VecDeque<(Instant, Snapshot)>>,
}

impl Watched {
    pub(crate) fn lock_rules(&self) -> MutexGuard<'_, RuleStates> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_told(&self) -> MutexGuard<'_, VecDeque<Arc<Alert>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an alert to every sink, and waits for none.
    pub(crate) fn tell(&self, alert: Alert) {
        let alert = Arc::new(alert);
        for outbox in &self.outboxes {
            outbox.put(&alert);
        }
        let mut told = self.lock_told();
        told.push_back(alert);
        let beyond = told.len().saturating_sub(KEPT_ALERTS);
        told.drain(..beyond);
    }

    /// Keeps a snapshot of each minute, for comparisons over time.
    pub(crate) fn remember(&self, now: Instant, snapshot: Snapshot) {
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = earlier
            .back()
            .is_none_or(|(last, _)| now.duration_since(*last) >= A_MINUTE);
        if is_due {
            earlier.push_back((now, snapshot));
            let beyond = earlier.len().saturating_sub(KEPT_MINUTES);
            earlier.drain(..beyond);
        }
    }

    pub(crate) fn advice(&self, snapshot: &Snapshot) -> Vec<(String, Vec<Advice>)> {
        let earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((then, before)) = earlier.front() else {
            return Vec::new();
        };
        let between = then.elapsed();
        let advice = snapshot.pools.iter().filter_map(|pool| {
            let name = &pool.status.pool;
            let before = before.pools.iter().find(|one| one.status.pool == *name)?;
            let mut load = Load::measured(before, pool, between);
            let sample = self.monitor.latest(name);
            let server = sample.and_then(|sample| sample.outcome.ok()?.server);
            // The number already leaves out the reserved connections.
            load.server = server.map(|server| (server.max_connections, 0));
            let advice = load.advice();
            (!advice.is_empty()).then(|| (name.to_string(), advice))
        });
        advice.collect()
    }
}

const A_MINUTE: Duration = Duration::from_secs(60);
const KEPT_MINUTES: usize = 11;
const KEPT_ALERTS: usize = 100;
