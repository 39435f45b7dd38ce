//! The faults that a proxy can cause.

use std::time::Duration;

/// How a [`Proxy`](crate::Proxy) treats its connections from now on, old and new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes pass.
    #[default]
    None,
    /// Every piece of data waits for this long, in each direction: a round trip waits twice as long.
    Delay(Duration),
    /// The proxy reads nothing any more, so the peer's data pile up in its socket. It accepts new connections.
    Stall,
    /// Requests pass, replies are held back.
    HoldReplies,
    /// New connections are refused by the kernel; old ones go on.
    Refuse,
    /// A connection whose client sends these bytes is closed before they reach the server.
    LoseRequest(&'static [u8]),
    /// A connection whose client sends these bytes is closed when the server has answered, without the answer.
    LoseReply(&'static [u8]),
}

/// Which way data go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Reply,
}

impl Fault {
    pub(crate) fn holds(&self, direction: Direction) -> bool {
        matches!(
            (self, direction),
            (Self::Stall, _) | (Self::HoldReplies, Direction::Reply)
        )
    }

    pub(crate) fn delay(&self) -> Duration {
        if let Self::Delay(delay) = self {
            *delay
        } else {
            Duration::ZERO
        }
    }

    /// Whether these bytes of a client must not reach the server.
    pub(crate) fn loses_request(&self, bytes: &[u8]) -> bool {
        matches!(self, Self::LoseRequest(wanted) if contains(bytes, wanted))
    }

    /// Whether the answer to these bytes of a client must not reach the client.
    pub(crate) fn loses_reply(&self, bytes: &[u8]) -> bool {
        matches!(self, Self::LoseReply(wanted) if contains(bytes, wanted))
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes
        .windows(wanted.len().max(1))
        .any(|window| window == wanted)
}
