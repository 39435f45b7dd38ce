//! One pool as plain data.

use std::collections::BTreeMap;

use app_db::Snapshot;
use app_db::db_pool::{Hold, PoolSnapshot, Sizing, TimeBuckets, TransactionStatus};
use serde::{Deserialize, Serialize};

use crate::monitor::Monitor;
use crate::monitor::pooler_figures::PoolerFigures;
use crate::monitor::ports::Ports;
use crate::monitor::sample::Sample;
use crate::monitor::server_figures::ServerFigures;
use crate::report::sample_report::{SampleReport, SummaryReport};
use crate::report::written::millis;

/// One pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PoolReport {
    /// Its name.
    pub pool: String,
    /// Where it connects to, without user and secret.
    pub address: String,
    /// What is wrong with it.
    pub diagnosis: Option<String>,
    /// `closed`, `open` or `half-open`.
    pub breaker: String,
    /// The number of the credentials in use.
    pub generation: u64,
    /// `fixed` or `adaptive`.
    pub sizing: String,
    /// The most connections.
    pub max: u32,
    /// The largest `max`.
    pub ceiling: u32,
    /// The idle connections that are kept ready.
    pub min_idle: u32,
    /// The most idle connections.
    pub max_idle: Option<u32>,
    /// Connections open.
    pub open: u32,
    /// Connections idle.
    pub idle: u32,
    /// Connections in use.
    pub in_use: u32,
    /// Callers in the queue.
    pub waiting: u32,
    /// Connections being made.
    pub dialling: u32,
    /// Connections that wait for the rest of an answer or their reset.
    pub settling: u32,
    /// Connections being closed.
    pub closing: u32,
    /// Connections with older credentials.
    pub retiring: u32,
    /// The share in use.
    pub utilisation: f64,
    /// Checkouts by where the connection came from: `idle`, `new`, `queued`.
    pub checkouts: BTreeMap<String, u64>,
    /// The share of checkouts for which a connection had to be made; below 10 % is good.
    pub cold_start_rate: Option<f64>,
    /// The mean time to make a connection; below 100 ms is good.
    pub connection_time_ms: Option<f64>,
    /// The mean time that a caller waited for a connection; below 50 ms is good.
    pub pooler_wait_time_ms: Option<f64>,
    /// Callers that got none in time.
    pub timed_out: u64,
    /// Callers that were refused at once.
    pub refused: u64,
    /// Callers that had to queue.
    pub wait_count: u64,
    /// How long these queued in total.
    pub wait_duration_ms: f64,
    /// 99 of 100 callers queued no longer than this.
    pub wait_p99_ms: f64,
    /// Connections made.
    pub connects: u64,
    /// Attempts to connect that failed.
    pub connect_failures: u64,
    /// The last failure since the last success.
    pub last_failure: Option<String>,
    /// Connections closed, by reason.
    pub closed: BTreeMap<String, u64>,
    /// Retries by SQLSTATE.
    pub retries: BTreeMap<String, u64>,
    /// Statements slower than the threshold.
    pub slow_queries: u64,
    /// Connections held for longer than `leak_threshold`.
    pub long_holds: u64,
    /// From asking for a connection to having it.
    pub wait_time: TimesReport,
    /// From having it to giving it back.
    pub use_time: TimesReport,
    /// The time to make connections.
    pub create_time: TimesReport,
    /// The time of statements that succeeded.
    pub operation_time: TimesReport,
    /// How far a replica is behind.
    pub replica_lag_seconds: Option<f64>,
    /// What the server was doing at the last look.
    pub server: Option<ServerFigures>,
    /// The ports of this machine that connections to the server took at the last look.
    pub ports: Option<Ports>,
    /// What PgBouncer said about itself at the last look, if it is asked.
    pub pooler: Option<PoolerFigures>,
    /// Why PgBouncer has said nothing about itself.
    pub pooler_error: Option<String>,
    /// The present holders, the longest hold first; at most twenty.
    pub holders: Vec<HolderReport>,
    /// The looks of the monitor, the oldest first.
    pub samples: Vec<SampleReport>,
    /// A summary of these looks.
    pub summary: Option<SummaryReport>,
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TimesReport {
    /// How often.
    pub count: u64,
    /// The sum.
    pub sum_seconds: f64,
}

/// One holder of a connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HolderReport {
    /// The source line that asked for it.
    pub call_site: String,
    /// The name of the work.
    pub label: Option<String>,
    /// For how long.
    pub held_ms: f64,
    /// `none`, `open`, `failed` or `unknown`.
    pub transaction: String,
    /// How long the present statement has been running.
    pub running_ms: Option<f64>,
    /// That statement, or the last one, without values.
    pub statement: Option<String>,
}

impl PoolReport {
    pub(crate) fn of(pool: &PoolSnapshot, snapshot: &Snapshot, monitor: &Monitor) -> Self {
        let status = &pool.status;
        let name = status.pool.to_string();
        let retries = snapshot.retries.iter().filter(|one| one.pool == name);
        let samples = monitor.samples(&name);
        let figures = samples.last().and_then(Sample::figures);
        let lag = figures.and_then(|figures| figures.replica_lag);
        let pooler = samples.last().and_then(|sample| sample.pooler.clone());
        Self {
            address: pool.address.clone(),
            diagnosis: pool.diagnosis.as_ref().map(ToString::to_string),
            breaker: status.breaker.to_string(),
            generation: status.generation,
            sizing: match pool.sizing {
                Sizing::Adaptive => "adaptive",
                _ => "fixed",
            }
            .to_owned(),
            max: status.max,
            ceiling: pool.ceiling,
            min_idle: pool.settings.min_idle,
            max_idle: pool.settings.max_idle,
            open: status.open,
            idle: status.idle,
            in_use: status.in_use,
            waiting: status.waiting,
            dialling: pool.dialling,
            settling: pool.settling,
            closing: pool.closing,
            retiring: status.retiring,
            utilisation: pool.utilisation(),
            checkouts: BTreeMap::from([
                ("idle".to_owned(), pool.handed_out_idle()),
                ("new".to_owned(), pool.handed_out_new),
                ("queued".to_owned(), pool.handed_out_queued),
            ]),
            cold_start_rate: pool.cold_start_rate(),
            connection_time_ms: pool.times.connected.mean().map(millis),
            pooler_wait_time_ms: pool.times.checked_out.mean().map(millis),
            timed_out: status.checkouts.timed_out,
            refused: status.checkouts.refused,
            wait_count: status.checkouts.queued,
            wait_duration_ms: millis(status.checkouts.queued_for),
            wait_p99_ms: millis(status.checkouts.waits.p99),
            connects: status.connects.opened,
            connect_failures: status.connects.failed,
            last_failure: pool.last_failure.as_ref().map(ToString::to_string),
            closed: pool
                .closed
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| ((*reason).to_owned(), *count))
                .collect(),
            retries: retries
                .map(|one| (one.sqlstate.code().to_owned(), one.count))
                .collect(),
            slow_queries: status.slow_queries,
            long_holds: status.long_holds,
            wait_time: TimesReport::of(&pool.times.checked_out),
            use_time: TimesReport::of(&pool.times.held),
            create_time: TimesReport::of(&pool.times.connected),
            operation_time: TimesReport::of(&pool.times.ran),
            replica_lag_seconds: lag.map(|lag| lag.as_secs_f64()),
            server: figures.and_then(|figures| figures.server.clone()),
            ports: samples.last().and_then(|sample| sample.ports.clone()),
            pooler_error: pooler
                .as_ref()
                .and_then(|said| said.as_ref().err().cloned()),
            pooler: pooler.and_then(Result::ok),
            holders: pool
                .holds
                .iter()
                .take(SHOWN_HOLDERS)
                .map(HolderReport::of)
                .collect(),
            samples: samples.iter().map(SampleReport::of).collect(),
            summary: monitor.summary(&name).as_ref().map(SummaryReport::of),
            pool: name,
        }
    }
}

impl TimesReport {
    fn of(times: &TimeBuckets) -> Self {
        Self {
            count: times.count(),
            sum_seconds: times.sum.as_secs_f64(),
        }
    }
}

impl HolderReport {
    fn of(hold: &Hold) -> Self {
        Self {
            call_site: hold.call_site.to_string(),
            label: hold.label.map(ToOwned::to_owned),
            held_ms: millis(hold.held),
            transaction: match hold.transaction {
                TransactionStatus::Idle => "none",
                TransactionStatus::InTransaction => "open",
                TransactionStatus::Failed => "failed",
                _ => "unknown",
            }
            .to_owned(),
            running_ms: hold.running.map(millis),
            statement: hold.statement.as_deref().map(ToOwned::to_owned),
        }
    }
}

const SHOWN_HOLDERS: usize = 20;
