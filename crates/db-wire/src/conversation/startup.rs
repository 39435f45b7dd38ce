//! How far a login has come, and the statements with which diesel-async sets up a connection.

use crate::conversation::inbox::Frame;
use crate::protocol::message::{CLOSED, split_text};

/// How far the login has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The startup packet has not been sent completely.
    Startup,
    /// The server has not yet said that it is ready. Bytes pass as they are.
    Login,
    Ready,
}

/// The two statements that diesel-async runs on every new connection. The wire answers each of them
/// once.
///
/// They would override the time zone of the startup packet. As named statements they would fail
/// behind a transaction-mode pooler, before the connection has done anything. The startup packet
/// has already set what they ask for.
#[derive(Debug, Default)]
pub(crate) struct SetUp {
    answered: usize,
    names: Vec<Box<[u8]>>,
}

const SET_UP: [&[u8]; 2] = [b"SET TIME ZONE 'UTC'", b"SET CLIENT_ENCODING TO 'UTF8'"];

/// The answer to Parse and Describe of a statement that has no parameters and no rows.
const DESCRIBED_AS_COMMAND: &[u8] = b"1\0\0\0\x04t\0\0\0\x06\0\0n\0\0\0\x04";
const BOUND_AND_SET: &[u8] = b"2\0\0\0\x04C\0\0\0\x08SET\0";

impl SetUp {
    pub(crate) fn is_over(&self) -> bool {
        self.answered == SET_UP.len() && self.names.is_empty()
    }

    /// The answer to a request, if it is one of the two.
    pub(crate) fn answer(&mut self, inbox: &[u8], frames: &[Frame]) -> Option<&'static [u8]> {
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
