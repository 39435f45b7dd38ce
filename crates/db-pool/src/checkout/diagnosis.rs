//! Diagnosis: why a caller got no connection in time, so that an engineer on call knows where to look.

pub(crate) mod facts;

use std::fmt;

use crate::backend::hold::Hold;
use crate::connect::connect_error::ConnectFailure;

/// Why a checkout timed out.
///
/// A connection is stuck if one holder has had it for all of the caller's wait. If other callers were served
/// meanwhile and fewer than half of the held connections are stuck, the pool is too small. Otherwise the stuck
/// connections are the reason, and the diagnosis says what most of them are: leaked, in transactions, or
/// neither.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Diagnosis {
    /// No connection is open, and connecting fails or is not answered.
    Unreachable {
        /// How the last attempt to connect failed.
        failure: ConnectFailure,
    },
    /// Fewer than `max` connections are held, and the pool has failed to open more.
    CannotGrow {
        /// How many are open.
        open: u32,
        /// How the last attempt to connect failed.
        failure: ConnectFailure,
    },
    /// Connections that were idle do not answer their ping.
    Silent {
        /// How many.
        unanswered: u32,
    },
    /// The server accepts connections but answers on none of them: its processes are stopped, or the network
    /// holds its answers back.
    ServerSilent {
        /// How many connections wait for an answer.
        held: u32,
    },
    /// The pooler before the server accepts logins but runs nothing.
    PoolerSilent {
        /// How many connections wait for an answer.
        held: u32,
    },
    /// The waiting task itself holds a connection of this pool, and has held it all the time.
    HeldByItself {
        /// That connection.
        own: Hold,
    },
    /// Connecting has not failed, but takes longer than the caller waited.
    Connecting {
        /// How many connections are being made.
        dialling: u32,
    },
    /// Every place is taken, some by connections that the server is still closing.
    Closing {
        /// How many these are.
        closing: u32,
    },
    /// Connections come and go, and there are too few of them.
    TooSmall {
        /// How many other callers were served while this one waited.
        served: u64,
    },
    /// Holders have kept connections for longer than `leak_threshold` and do nothing with them.
    Leaked {
        /// How many.
        count: u32,
        /// The one that has been held longest.
        longest: Hold,
    },
    /// Transactions or statements have been running for as long as the caller waited.
    LongTransaction {
        /// How many.
        count: u32,
        /// The one that has been held longest.
        longest: Hold,
    },
    /// Holders do nothing with their connections on the server, or run one short statement after the other, but
    /// have not returned them while the caller waited.
    Withheld {
        /// How many.
        count: u32,
        /// The one that has been held longest.
        longest: Hold,
    },
}

impl Diagnosis {
    /// Whether callers wait for a silent server or pooler, and not because of load.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::ServerSilent { .. } | Self::PoolerSilent { .. })
    }
}

/// One line: the cause, with numbers, and what to do about it.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { failure } => f.write_str(match failure {
                ConnectFailure::UnknownHost => "the server's name is not resolved",
                ConnectFailure::TimedOut => "the server or the network does not answer",
                ConnectFailure::Unreachable => "the server is not reached",
                _ => "the server refuses every connection",
            }),
            Self::CannotGrow { open, .. } => {
                write!(f, "it has {open} open and cannot open more")
            }
            Self::Silent { unanswered } => write!(
                f,
                "{unanswered} open connections do not answer: look at the network and the server"
            ),
            Self::ServerSilent { held } => write!(
                f,
                "the server is silent: {held} connections wait for an answer, and a new one gets none either; \
                 check whether its processes are stopped, or its disk or the network hangs"
            ),
            Self::PoolerSilent { held } => write!(
                f,
                "the pooler is silent: {held} connections wait for an answer, and a new one gets none either; \
                 check whether it is paused (PAUSE), or has no connection to its server"
            ),
            Self::HeldByItself { own } => write!(
                f,
                "the waiting task itself has held one since {}: use that one, or give it back first; it is {own}",
                own.call_site
            ),
            Self::Connecting { dialling } => write!(
                f,
                "connecting takes longer than the caller waited, with {dialling} attempts under way: look at \
                 the network, or raise checkout_timeout"
            ),
            Self::Closing { closing } => write!(
                f,
                "the server is still closing connections that came back in the middle of their work, {closing} \
                 in all"
            ),
            Self::TooSmall { served } => write!(
                f,
                "it is too small for its load: {served} other callers were served meanwhile; raise max, or \
                 hold connections for a shorter time"
            ),
            Self::Leaked { count, longest } => write!(
                f,
                "it leaks, {count} held without use for longer than leak_threshold; held longest: {longest}"
            ),
            Self::LongTransaction { count, longest } => write!(
                f,
                "long transactions hold {count} of its connections: shorten them, or give them a pool of \
                 their own; held longest: {longest}"
            ),
            Self::Withheld { count, longest } => write!(
                f,
                "{count} of its connections did not come back meanwhile; held longest: {longest}"
            ),
        }
    }
}
