//! Before the first statement: the startup packet, and the statements by which diesel-async sets up.

use crate::conversation::Conversation;
use crate::conversation::requests::Span;
use crate::protocol::message::split_text;

/// How far the login has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The startup packet has not gone out whole.
    Startup,
    /// The server has not said yet that it is ready: bytes pass as they are.
    Login,
    Ready,
}

/// The two statements that diesel-async runs on every new connection, each answered once by the wire.
///
/// They would overrule the startup packet's time zone, and as named statements they fail behind a
/// transaction-mode pooler before the connection has done anything. What they ask for is so already.
#[derive(Debug, Default)]
pub(crate) struct SetUp {
    answered: usize,
    names: Vec<Box<[u8]>>,
}

const SET_UP: [&[u8]; 2] = [b"SET TIME ZONE 'UTC'", b"SET CLIENT_ENCODING TO 'UTF8'"];

/// The answer to Parse and Describe of a statement without parameters and rows.
const DESCRIBED_AS_COMMAND: &[u8] = b"1\0\0\0\x04t\0\0\0\x06\0\0n\0\0\0\x04";
const BOUND_AND_SET: &[u8] = b"2\0\0\0\x04C\0\0\0\x08SET\0";
/// The answer to Close.
pub(super) const CLOSED: &[u8] = b"3\0\0\0\x04";

/// The major version in a startup packet; a CancelRequest has another number there.
const MAJOR: [u8; 2] = [0, 3];

impl SetUp {
    pub(super) fn is_over(&self) -> bool {
        self.answered == SET_UP.len() && self.names.is_empty()
    }

    /// What to answer to a request, if it is one of these.
    fn answer(&mut self, inbox: &[u8], frames: &[Span]) -> Option<&'static [u8]> {
        let body = frames.first()?.body(inbox);
        let tags: Vec<_> = frames.iter().map(|frame| frame.tag).collect();
        match tags.as_slice() {
            b"PDS" => {
                let (name, tail) = split_text(body)?;
                let (sql, _types) = split_text(tail)?;
                if self.answered == SET_UP.len() || !SET_UP.contains(&sql) {
                    return None;
                }
                self.answered += 1;
                self.names.push(name.into());
                Some(DESCRIBED_AS_COMMAND)
            }
            b"BES" => {
                let (_portal, rest) = split_text(body)?;
                self.place(split_text(rest)?.0)?;
                Some(BOUND_AND_SET)
            }
            b"CS" => {
                let (name, _) = split_text(body.get(1..)?)?;
                let place = self.place(name)?;
                self.names.swap_remove(place);
                Some(CLOSED)
            }
            _ => None,
        }
    }

    fn place(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().position(|known| **known == *name)
    }
}

impl Conversation {
    /// Passes the login on, with our parameters in its first packet: a length, the version, pairs of
    /// texts, and a NUL.
    pub(super) fn log_in(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Login {
            self.to_server.end().extend_from_slice(bytes);
            return;
        }
        self.inbox.extend_from_slice(bytes);
        let Some(length) = self.inbox.first_chunk::<4>() else {
            return;
        };
        let length = u32::from_be_bytes(*length) as usize;
        if self.inbox.len() < length {
            return;
        }
        let packet = std::mem::take(&mut self.inbox);
        self.phase = Phase::Login;
        let (packet, rest) = packet.split_at(length);
        let mut added = Vec::new();
        for (name, value) in self.steering.startup().iter() {
            for text in [name, value] {
                added.extend_from_slice(text.as_bytes());
                added.push(0);
            }
        }
        let out = self.to_server.end();
        match packet.split_last() {
            Some((0, pairs)) if pairs.get(4..6) == Some(&MAJOR) && !added.is_empty() => {
                let longer = (length + added.len()) as u32;
                out.extend_from_slice(&longer.to_be_bytes());
                out.extend_from_slice(&pairs[4..]);
                out.extend_from_slice(&added);
                out.push(0);
            }
            _ => out.extend_from_slice(packet),
        }
        out.extend_from_slice(rest);
    }

    /// Answers diesel-async's set-up statements; `false` when the request is something else.
    pub(super) fn answer_set_up(&mut self, inbox: &[u8], frames: &[Span]) -> bool {
        if !self.steering.answers_set_up() || self.set_up.is_over() {
            return false;
        }
        let Some(messages) = self.set_up.answer(inbox, frames) else {
            return false;
        };
        self.answer(messages, None);
        true
    }
}
