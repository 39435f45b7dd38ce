//! Diagnosis: why a caller got no connection in time, so that whoever is called at night knows where to
//! look.

mod facts;

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::facts::Stage;

use self::facts::Facts;
use crate::backend::hold::Hold;
use crate::error::{ConnectError, Failure, PoolError};
use crate::pool::Shared;
use crate::registry::Registry;
use crate::status::Totals;

/// Why a checkout timed out (req 0.29, req 0.30).
///
/// A connection counts as stuck when its holder has had it for the whole of the caller's wait. Where
/// others were served meanwhile and less than half of what is held was stuck, the pool is too small.
/// Otherwise it is the stuck ones, and which of them are the most: leaked, in transactions, or neither.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Diagnosis {
    /// No connection is open, and connecting fails or is not answered.
    Unreachable {
        /// How the last attempt to connect failed.
        failure: Failure,
    },
    /// Fewer than `max` are held and the pool has failed to open more.
    CannotGrow {
        /// How many are open.
        open: u32,
        /// How the last attempt to connect failed.
        failure: Failure,
    },
    /// Connections that were idle do not answer their ping.
    Silent {
        /// How many.
        unanswered: u32,
    },
    /// Connecting has not failed, and takes longer than the caller waited.
    Connecting {
        /// How many connections are being made.
        dialling: u32,
    },
    /// Every place is taken, some of them by connections that the server is still closing.
    Closing {
        /// How many these are.
        closing: u32,
    },
    /// Connections come and go, and there are too few of them.
    TooSmall {
        /// How many other callers were served while this one waited.
        served: u64,
    },
    /// Connections are held for longer than `leak_threshold` by holders that do nothing with them.
    Leaked {
        /// How many.
        count: u32,
        /// The one that has been held longest.
        longest: Hold,
    },
    /// Transactions or statements have been going on for as long as the caller waited.
    LongTransaction {
        /// How many.
        count: u32,
        /// The one that has been held longest.
        longest: Hold,
    },
    /// Holders do nothing with them on the server, or one short statement after the other, but have not
    /// given them back while the caller waited.
    Withheld {
        /// How many.
        count: u32,
        /// The one that has been held longest.
        longest: Hold,
    },
}

/// When a caller began to wait, and how many had been served by then.
#[derive(Debug)]
pub(crate) struct Queued {
    arrived: Instant,
    handed_out: u64,
}

impl Queued {
    pub(crate) fn at(arrived: Instant, registry: &Registry) -> Self {
        Self {
            arrived,
            handed_out: registry.handed_out(),
        }
    }

    pub(crate) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.arrived)
    }
}

impl Shared {
    pub(crate) fn timed_out(&self, queued: &Queued, stage: Stage) -> PoolError {
        Totals::count(&self.registry.totals.timeouts);
        let leases = self.registry.leases();
        let holds: Vec<_> = leases.iter().filter_map(|lease| lease.hold()).collect();
        let longest = holds.iter().max_by_key(|hold| hold.held);
        let longest_held = longest.map(|hold| (hold.held, hold.call_site));
        let waited = Duration::from_millis(queued.arrived.elapsed().as_millis() as u64);
        let status = self.status();
        let dialling = self.occupied().saturating_sub(status.open);
        let last_failure = self.backoff.last_failure().or_else(|| {
            // Nobody has failed yet, because the first attempt has not ended: a server that is silent.
            let silent = status.open == 0 && dialling > 0;
            let address = self.registry.generations.current().endpoint.address();
            silent.then(|| {
                ConnectError::new(&address, Failure::TimedOut)
                    .at(self.dialler.stage())
                    .explained(format!("no answer within {waited:?}"))
            })
        });
        let facts = Facts {
            waited,
            stage,
            max: status.max,
            open: status.open,
            dialling,
            unanswered: self.registry.unanswered.load(Ordering::Acquire),
            failure: last_failure.as_ref().map(ConnectError::failure),
            served: self.registry.handed_out() - queued.handed_out,
            leak_threshold: self.profile.leak_threshold,
            holds,
        };
        PoolError::Timeout {
            pool: self.name(),
            waited,
            status: Box::new(status),
            longest_held,
            diagnosis: Box::new(facts.diagnose()),
            last_failure,
        }
    }
}

/// One line: what it is, in numbers, and what to do about it.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { failure } => f.write_str(match failure {
                Failure::UnknownHost => "the server's name is not resolved",
                Failure::TimedOut => "the server or the network does not answer",
                Failure::Unreachable => "the server is not reached",
                _ => "the server refuses every connection",
            }),
            Self::CannotGrow { open, .. } => {
                write!(f, "it has {open} open and cannot open more")
            }
            Self::Silent { unanswered } => write!(
                f,
                "{unanswered} open connections do not answer: look at the network and the server"
            ),
            Self::Connecting { dialling } => write!(
                f,
                "connecting takes longer than that, {dialling} under way: look at the network, or raise \
                 checkout_timeout"
            ),
            Self::Closing { closing } => write!(
                f,
                "the server is still closing what was given back in the middle of its work, {closing} in all"
            ),
            Self::TooSmall { served } => write!(
                f,
                "it is too small for its load, which took {served} connections meanwhile: raise max, or \
                 hold connections for shorter"
            ),
            Self::Leaked { count, longest } => write!(
                f,
                "it leaks, {count} held idle for longer than leak_threshold; held longest: {longest}"
            ),
            Self::LongTransaction { count, longest } => write!(
                f,
                "long transactions have {count} of its connections, shorten them or give them a pool of \
                 their own; held longest: {longest}"
            ),
            Self::Withheld { count, longest } => write!(
                f,
                "{count} did not come back meanwhile; held longest: {longest}"
            ),
        }
    }
}
