//! What the client asks: each request up to its Sync, and who takes care of it.

use crate::conversation::Conversation;
use crate::conversation::exchange::{Exchange, Expect};
use crate::conversation::login::Phase;
use crate::conversation::transaction::Transaction;
use crate::observed::Request;
use crate::prepared::statements::Statements;
use crate::protocol::frame::{BadLength, HEADER, MAX_LENGTH};
use crate::protocol::message::{put, put_sync};
use crate::protocol::outbox::empty;
use crate::sql::text;

/// One whole message in the inbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(super) tag: u8,
    start: usize,
    end: usize,
}

impl Span {
    pub(super) fn bytes(self, inbox: &[u8]) -> &[u8] {
        &inbox[self.start..self.end]
    }

    pub(super) fn body(self, inbox: &[u8]) -> &[u8] {
        &inbox[self.start + HEADER..self.end]
    }
}

/// Whether the client is sending the rows of a COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copying {
    No,
    /// The server takes rows. It ignores a Sync until they have ended, so that it answers one Sync for
    /// two where COPY was run by Execute.
    In {
        extended: bool,
    },
    /// The client has ended them; the Sync that comes next belongs to the same exchange.
    Ended,
}

impl Copying {
    /// Whether a message belongs to the COPY.
    fn takes(self, tag: u8) -> bool {
        match self {
            Self::No => false,
            Self::In { extended } => {
                matches!(tag, b'd' | b'c' | b'f' | b'H') || (extended && tag == b'S')
            }
            Self::Ended => tag == b'S',
        }
    }

    /// What is so after a message of the COPY's.
    fn after(self, tag: u8) -> Self {
        match (self, tag) {
            (Self::In { extended: true }, b'c' | b'f') => Self::Ended,
            (Self::In { extended: false }, b'c' | b'f') | (Self::Ended, _) => Self::No,
            _ => self,
        }
    }
}

impl Conversation {
    /// Takes what the client writes.
    pub(crate) fn client_sent(&mut self, bytes: &[u8]) -> Result<(), BadLength> {
        if self.phase != Phase::Ready {
            self.log_in(bytes);
            return Ok(());
        }
        if !self.inbox.is_empty() {
            self.inbox.extend_from_slice(bytes);
            return self.take_requests();
        }
        // Mostly requests come whole, and are read where they are.
        let handled = self.handle(bytes)?;
        self.inbox.extend_from_slice(&bytes[handled..]);
        Ok(())
    }

    /// Handles every request in the inbox that is whole, unless it must wait for an answer.
    pub(super) fn take_requests(&mut self) -> Result<(), BadLength> {
        let mut inbox = std::mem::take(&mut self.inbox);
        let handled = self.handle(&inbox)?;
        if handled == inbox.len() {
            empty(&mut inbox);
        } else {
            inbox.drain(..handled);
        }
        self.inbox = inbox;
        Ok(())
    }

    /// Handles what of these bytes is whole and need not wait, and says how many bytes that was.
    fn handle(&mut self, inbox: &[u8]) -> Result<usize, BadLength> {
        let mut frames = std::mem::take(&mut self.frames);
        let mut handled = 0;
        while let Some(span) = next_message(inbox, self.scanned)? {
            let copies = frames.is_empty() && self.copying.takes(span.tag);
            if !copies && frames.is_empty() && span.tag != b'X' {
                self.end_abandoned_copy();
            }
            if self.must_wait && !copies && !self.flushed {
                break;
            }
            self.scanned = span.end;
            frames.push(span);
            match span.tag {
                _ if copies => {
                    self.copying = self.copying.after(span.tag);
                    self.pass(inbox, &frames);
                }
                b'Q' | b'F' | b'S' => {
                    self.request(inbox, &frames);
                    self.flushed = false;
                }
                b'H' => {
                    if !self.flush(inbox, &frames) {
                        frames.pop();
                        continue;
                    }
                }
                // Outside a COPY the server ignores its messages.
                b'd' | b'c' | b'f' if self.is_broken() => {}
                b'X' | b'd' | b'c' | b'f' => self.pass(inbox, &frames),
                _ => continue,
            }
            frames.clear();
            handled = span.end;
        }
        self.scanned -= handled;
        for frame in &mut frames {
            frame.start -= handled;
            frame.end -= handled;
        }
        self.frames = frames;
        Ok(handled)
    }

    /// The server takes whatever comes for the rows of a COPY, and answers none of it: a client that goes on
    /// without having ended them, as diesel-async does, would wait for ever.
    fn end_abandoned_copy(&mut self) {
        let Copying::In { extended } = self.copying else {
            return;
        };
        self.copying = Copying::No;
        // A PgBouncer that has seen the end of a COPY believes that no other answer is to come.
        if let Some(Expect::Remote(exchange)) = self.plan.front_mut() {
            exchange.controls = true;
            self.must_wait = true;
        }
        let out = self.to_server.end();
        put(out, b'f', &[ABANDONED, b"\0"]);
        if extended {
            put_sync(out);
        }
    }

    fn request(&mut self, inbox: &[u8], frames: &[Span]) {
        if self.flushed {
            return self.continue_flushed(inbox, frames);
        }
        if self.answer_set_up(inbox, frames) {
            return;
        }
        let Some(rules) = self.steering.rules() else {
            return self.forward(inbox, frames);
        };
        let rules = &*rules;
        if !self.statements.is_for(rules.statement_cache, rules.naming) && self.is_settled() {
            self.statements = Statements::new(rules.statement_cache, rules.naming);
        }
        if let [query] = frames
            && query.tag == b'Q'
        {
            let body = query.body(inbox);
            return self.simple(rules, body.strip_suffix(b"\0").unwrap_or(body));
        }
        if self.is_broken() {
            return self.refuse_in_broken(inbox, frames);
        }
        match frames {
            [parse, describe, sync]
                if (parse.tag, describe.tag, sync.tag) == (b'P', b'D', b'S') =>
            {
                self.prepare(rules, inbox, frames);
            }
            [bind, execute, sync] if (bind.tag, execute.tag, sync.tag) == (b'B', b'E', b'S') => {
                self.execute(rules, inbox, frames);
            }
            [close, sync] if (close.tag, sync.tag) == (b'C', b'S') => self.close(inbox, frames),
            _ => self.other(rules, inbox, frames),
        }
    }

    /// A Flush makes the server answer before the Sync: what is there goes out. `false` when it must not.
    fn flush(&mut self, inbox: &[u8], frames: &[Span]) -> bool {
        if self.is_broken() {
            return false;
        }
        if frames.len() == 1 {
            self.pass(inbox, frames);
        } else if self.flushed {
            self.continue_flushed(inbox, frames);
        } else {
            match self.steering.rules() {
                Some(rules) => self.other(&rules, inbox, frames),
                None => self.forward(inbox, frames),
            }
            self.flushed = true;
        }
        true
    }

    /// Sends a request on as it is.
    pub(super) fn forward(&mut self, inbox: &[u8], frames: &[Span]) {
        let mut request = Request::Housekeeping;
        let mut extended = true;
        for frame in frames {
            request = match frame.tag {
                b'Q' if text::may_commit(frame.body(inbox)) => Request::Commit,
                b'Q' | b'E' | b'F' => Request::Work,
                _ => request,
            };
            extended &= frame.tag != b'Q';
        }
        self.pass(inbox, frames);
        let mut exchange = Exchange::new(request);
        exchange.extended = extended;
        self.plan_answer(exchange);
    }

    pub(super) fn pass(&mut self, inbox: &[u8], frames: &[Span]) {
        for frame in frames {
            self.to_server.end().extend_from_slice(frame.bytes(inbox));
        }
    }

    /// Whether the session behind this connection may be another's in the next transaction.
    pub(super) fn is_shared(&self) -> bool {
        self.steering
            .rules()
            .is_some_and(|rules| rules.shared_session)
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.transaction, Transaction::Broken { .. })
    }
}

const ABANDONED: &[u8] = b"the client went on without sending the rows";

fn next_message(inbox: &[u8], start: usize) -> Result<Option<Span>, BadLength> {
    let Some(header) = inbox.get(start..).and_then(<[u8]>::first_chunk::<HEADER>) else {
        return Ok(None);
    };
    let [tag, a, b, c, d] = *header;
    let length = u32::from_be_bytes([a, b, c, d]);
    if !(4..=MAX_LENGTH).contains(&length) {
        return Err(BadLength { tag, length });
    }
    let end = start + 1 + length as usize;
    Ok((end <= inbox.len()).then_some(Span { tag, start, end }))
}
