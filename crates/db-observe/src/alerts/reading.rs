//! A reading: the numbers of one pool that rules look at.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use app_db::db_pool::{Breaker, PoolSnapshot, Times};
use tokio::time::Instant;

use crate::monitor::sample::Sample;

/// The numbers of one pool at one instant, and over the minute before.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Reading {
    /// The pool.
    pub pool: Arc<str>,
    /// The share of `max` that is in use, from 0 to 1.
    pub utilisation: f64,
    /// Whether every connection is in use.
    pub is_full: bool,
    /// Callers in the queue.
    pub waiting: u32,
    /// Connections that nobody holds.
    pub idle: u32,
    /// Whether the server is down: the breaker is open, or the monitor got no session at its last look.
    pub is_down: bool,
    /// 99 of 100 checkouts of the last minute took no longer than this; [`Duration::MAX`] if that is more than
    /// 10 s.
    pub wait_p99: Option<Duration>,
    /// The share of the attempts to connect of the last minute that failed.
    pub connect_error_rate: Option<f64>,
    /// The mean time to make a connection in the last minute.
    pub connect_time: Option<Duration>,
    /// How long the server took to answer the monitor's last question.
    pub response_time: Option<Duration>,
    /// The taken share of the server's connections for clients, at the monitor's last look.
    pub server_share: Option<f64>,
    /// The share of this machine's ports that connections to the server took at the monitor's last look.
    pub ports_share: Option<f64>,
    /// What is wrong, in words.
    pub diagnosis: Option<String>,
}

/// Keeps the snapshots that show the last minute of each pool.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    earlier: HashMap<Arc<str>, VecDeque<Earlier>>,
}

#[derive(Debug)]
struct Earlier {
    at: Instant,
    times: Times,
    opened: u64,
    failed: u64,
}

impl Readings {
    /// The present reading of a pool, compared with a minute ago.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        snapshot: &PoolSnapshot,
        sample: Option<&Sample>,
    ) -> Reading {
        let status = &snapshot.status;
        let earlier = self.earlier.entry(Arc::clone(&status.pool)).or_default();
        earlier.push_back(Earlier {
            at: now,
            times: snapshot.times.clone(),
            opened: status.connects.opened,
            failed: status.connects.failed,
        });
        // The first remaining snapshot is a minute old, or the oldest one.
        while earlier
            .get(1)
            .is_some_and(|next| now.duration_since(next.at) >= WINDOW)
        {
            earlier.pop_front();
        }
        let Some(then) = earlier.front() else {
            return Reading::default();
        };
        let connected = snapshot.times.connected.since(&then.times.connected);
        let checked_out = snapshot.times.checked_out.since(&then.times.checked_out);
        let opened = status.connects.opened.saturating_sub(then.opened);
        let failed = status.connects.failed.saturating_sub(then.failed);
        let attempts = opened + failed;
        let lost_contact = |sample: &Sample| {
            let failure = sample.outcome.as_ref().err();
            failure.is_some_and(|failure| failure.is_connection_error)
        };
        Reading {
            pool: Arc::clone(&status.pool),
            utilisation: snapshot.utilisation(),
            is_full: status.in_use >= status.max,
            waiting: status.waiting,
            idle: status.idle,
            is_down: status.breaker != Breaker::Closed || sample.is_some_and(lost_contact),
            wait_p99: checked_out.quantile(0.99),
            connect_error_rate: (attempts > 0).then(|| failed as f64 / attempts as f64),
            connect_time: connected.mean(),
            response_time: sample
                .and_then(Sample::figures)
                .map(|figures| figures.response_time),
            server_share: sample
                .and_then(|sample| Some(sample.figures()?.server.as_ref()?.share())),
            ports_share: sample.and_then(|sample| Some(sample.ports.as_ref()?.share())),
            diagnosis: snapshot.diagnosis.as_ref().map(ToString::to_string),
        }
    }

    /// Forgets the pools that are gone.
    pub(crate) fn retain(&mut self, lives: impl Fn(&str) -> bool) {
        self.earlier.retain(|pool, _| lives(pool));
    }
}

const WINDOW: Duration = Duration::from_secs(60);
