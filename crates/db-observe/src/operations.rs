//! Operations: the parts together, and the task that drives them.

mod overseer;
mod watched;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use app_db::Database;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::advice::Advice;
use crate::alerts::alert::Alert;
use crate::alerts::alert_options::AlertOptions;
use crate::alerts::outbox::{Delivery, Outbox, OutboxStatus};
use crate::alerts::rule_states::RuleStates;
use crate::metrics::exporter::Exporter;
use crate::monitor::{Monitor, MonitorOptions};
use crate::operations::overseer::Overseer;
use crate::operations::watched::Watched;
use crate::report::{StatusReport, StatusSources};

/// Everything that watches a database, running; clones share it.
///
/// It looks at the pools every second without disturbing them, and passes what it sees to rules, sinks and adaptive
/// pools. It ends with [`Operations::stop`], or when its last clone is dropped.
#[derive(Clone, Debug)]
pub struct Operations {
    watched: Arc<Watched>,
    owner: Arc<Owner>,
}

/// What to watch, and how.
#[derive(Debug)]
#[must_use = "nothing is watched before `start`"]
pub struct OperationsBuilder {
    db: Database,
    monitor: MonitorOptions,
    alerts: AlertOptions,
    interval: Duration,
    sizing_interval: Duration,
    fingerprints: usize,
}

/// Ends the tasks with the last handle.
#[derive(Debug)]
struct Owner {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Operations {
    /// Begins to describe what to watch about a database.
    pub fn of(db: &Database) -> OperationsBuilder {
        OperationsBuilder {
            db: db.clone(),
            monitor: MonitorOptions::default(),
            alerts: AlertOptions::default(),
            interval: Duration::from_secs(1),
            sizing_interval: Duration::from_secs(60),
            fingerprints: 0,
        }
    }

    /// The monitor.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.watched.monitor
    }

    /// The exporter of metrics.
    #[must_use]
    pub fn exporter(&self) -> &Exporter {
        &self.watched.exporter
    }

    /// The alerts that fire now, the most urgent first.
    #[must_use]
    pub fn firing(&self) -> Vec<Alert> {
        self.watched.lock_rules().firing(SystemTime::now())
    }

    /// The last hundred alerts, both beginnings and ends, the oldest first.
    #[must_use]
    pub fn told(&self) -> Vec<Alert> {
        let told = self.watched.lock_told();
        told.iter().map(|alert| (**alert).clone()).collect()
    }

    /// How the delivery to each sink goes.
    #[must_use]
    pub fn outboxes(&self) -> Vec<OutboxStatus> {
        self.watched
            .outboxes
            .iter()
            .map(|outbox| outbox.status())
            .collect()
    }

    /// What the load of the last minutes says about the sizes, for each pool that had some load.
    #[must_use]
    pub fn advice(&self) -> Vec<(String, Vec<Advice>)> {
        self.watched.advice(&self.watched.db.snapshot())
    }

    /// Everything at this instant, for a page or a terminal. It never waits for a pool or a server.
    #[must_use]
    pub fn report(&self) -> StatusReport {
        let snapshot = self.watched.db.snapshot();
        StatusReport::of(&StatusSources {
            at: SystemTime::now(),
            statements: &self.watched.db.statements(),
            monitor: &self.watched.monitor,
            firing: &self.firing(),
            told: &self.told(),
            outboxes: &self.outboxes(),
            advice: &self.watched.advice(&snapshot),
            snapshot: &snapshot,
        })
    }

    /// Ends everything that runs. Alerts that are not sent yet are lost.
    ///
    /// Dropping the future early ends everything nevertheless.
    pub async fn stop(&self) {
        self.owner.stop.cancel();
        self.owner.tasks.close();
        self.watched.monitor.stop().await;
        self.owner.tasks.wait().await;
    }
}

impl OperationsBuilder {
    /// How the monitor looks.
    pub fn monitor(mut self, options: MonitorOptions) -> Self {
        self.monitor = options;
        self
    }

    /// What causes alerts, and who gets them.
    pub fn alerts(mut self, options: AlertOptions) -> Self {
        self.alerts = options;
        self
    }

    /// How often it looks at pools for rules and sizes; every second by default.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How often an adaptive pool may change its size; once a minute by default.
    pub fn sizing_interval(mut self, interval: Duration) -> Self {
        self.sizing_interval = interval;
        self
    }

    /// Exports the counts of `most` statements by fingerprint, at most fifty; none by default.
    pub fn fingerprints(mut self, most: usize) -> Self {
        self.fingerprints = most;
        self
    }

    /// Begins to watch. Call it inside a tokio runtime.
    #[must_use = "the watching ends when this is dropped"]
    pub fn start(self) -> Operations {
        let monitor = Monitor::new(&self.db, self.monitor);
        let outboxes: Vec<_> = self.alerts.sinks.into_iter().map(Outbox::new).collect();
        let watched = Arc::new(Watched {
            exporter: Exporter::with_fingerprints(&self.db, Some(&monitor), self.fingerprints),
            rules: Mutex::new(RuleStates::new(&self.alerts.rules)),
            outboxes,
            told: Mutex::default(),
            earlier: Mutex::default(),
            db: self.db,
            monitor,
        });
        let owner = Owner {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        for outbox in &watched.outboxes {
            let delivery = Delivery {
                outbox: Arc::clone(outbox),
                stop: owner.stop.clone(),
            };
            owner.tasks.spawn(delivery.run());
        }
        let overseer = Overseer::new(
            Arc::clone(&watched),
            self.interval,
            self.sizing_interval,
            owner.stop.clone(),
        );
        owner.tasks.spawn(overseer.run());
        watched.monitor.start();
        Operations {
            watched,
            owner: Arc::new(owner),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
