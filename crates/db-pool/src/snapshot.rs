//! All facts about a pool at one instant. Metrics, pages, alerts and sizing read only this.

use std::sync::atomic::Ordering;

use db_config::Host;

use crate::backend::close_reason::CloseReason;
use crate::backend::hold::Hold;
use crate::checkout::diagnosis::Diagnosis;
use crate::checkout::trouble::{holds, trouble, without_values};
use crate::connect::connect_error::ConnectError;
use crate::pool_times::Times;
use crate::profile::Sizing;
use crate::settings::PoolSettings;
use crate::shared::Shared;
use crate::status::Status;

/// A pool at one instant, with all its counts.
///
/// Counts only grow, except the counts of what exists now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolSnapshot {
    /// Its connections and counts.
    pub status: Status,
    /// The settings in force.
    pub settings: PoolSettings,
    /// The largest `max` that it can have.
    pub ceiling: u32,
    /// What decides its size.
    pub sizing: Sizing,
    /// The database.
    pub database: String,
    /// The server's host (or folder of the Unix socket) and port, if the pool has only one.
    pub server: Option<(String, u16)>,
    /// All hosts in one text, without user and secret.
    pub address: String,
    /// Connections that are being made.
    pub dialling: u32,
    /// Connections that have come back and wait for the rest of an answer, or for the reset of their session.
    pub settling: u32,
    /// Connections that the pool is closing, and that the server has not closed yet.
    pub closing: u32,
    /// Connections ever handed out.
    pub handed_out: u64,
    /// Connections that the pool had to make for the caller.
    pub handed_out_new: u64,
    /// Connections handed out to callers that had to queue and then got an existing connection.
    pub handed_out_queued: u64,
    /// Attempts to connect that the server refused because it had no connection left (53300).
    pub too_many_connections: u64,
    /// Whether new credentials are being proved.
    pub is_rotating: bool,
    /// Whether the pool is closed, or about to be.
    pub is_closed: bool,
    /// How many connections were closed, by each reason of the log.
    pub closed: Vec<(&'static str, u64)>,
    /// How long everything took.
    pub times: Times,
    /// The present holds, the longest first.
    pub holds: Vec<Hold>,
    /// What is wrong, if anything is.
    pub diagnosis: Option<Diagnosis>,
    /// The last failure to connect since the last success.
    pub last_failure: Option<ConnectError>,
}

impl PoolSnapshot {
    /// How many of `max` are held, from 0 to 1.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        f64::from(self.status.in_use) / f64::from(self.status.max.max(1))
    }

    /// The share of checkouts for which a connection had to be made, if there were any.
    #[must_use]
    pub fn cold_start_rate(&self) -> Option<f64> {
        (self.handed_out > 0).then(|| self.handed_out_new as f64 / self.handed_out as f64)
    }

    /// How many connections were handed out at once.
    #[must_use]
    pub fn handed_out_idle(&self) -> u64 {
        self.handed_out
            .saturating_sub(self.handed_out_new + self.handed_out_queued)
    }

    /// The share of attempts to connect that failed, if there were any.
    #[must_use]
    pub fn connect_error_rate(&self) -> Option<f64> {
        let connects = &self.status.connects;
        let attempts = connects.opened + connects.failed;
        (attempts > 0).then(|| connects.failed as f64 / attempts as f64)
    }
}

/// Makes a snapshot of a pool; never waits.
pub(crate) fn snapshot(shared: &Shared) -> PoolSnapshot {
    let registry = &shared.registry;
    let totals = &registry.totals;
    let holds = without_values(holds(shared));
    let endpoint = registry.generations.current();
    let endpoint = &endpoint.endpoint;
    // This is read before the times: a caller that is counted there and not here would give a negative count.
    let handed_out = registry.handed_out();
    let status = shared.status();
    PoolSnapshot {
        settings: registry.settings.read(status.max),
        ceiling: shared.profile.ceiling,
        sizing: shared.profile.sizing,
        database: endpoint.dbname.clone(),
        server: match endpoint.hosts.as_slice() {
            [Host::Tcp { name, port, .. }] => Some((name.clone(), *port)),
            [Host::Unix { dir, port }] => Some((dir.display().to_string(), *port)),
            _ => None,
        },
        address: endpoint.address(),
        dialling: shared.occupied().saturating_sub(status.open),
        settling: registry.settling.load(Ordering::Acquire),
        closing: registry.being_closed.load(Ordering::Acquire),
        handed_out,
        handed_out_new: totals.served_new.load(Ordering::Relaxed),
        handed_out_queued: totals.served_after_queueing.load(Ordering::Relaxed),
        too_many_connections: totals.too_many_connections.load(Ordering::Relaxed),
        is_rotating: registry.proving.load(Ordering::Acquire) > 0 || status.retiring > 0,
        is_closed: registry.is_closed(),
        closed: CloseReason::ALL
            .iter()
            .map(|reason| (reason.word(), totals.closed(&[*reason])))
            .collect(),
        times: registry.times.read(handed_out),
        diagnosis: trouble(shared, &holds),
        holds,
        last_failure: shared.backoff.last_failure(),
        status,
    }
}
