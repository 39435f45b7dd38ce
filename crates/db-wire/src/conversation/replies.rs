//! What the server answers: which of it the client gets, and when an exchange is over.

use std::ops::Range;
use std::time::Instant;

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::description::narrowed;
use crate::conversation::exchange::{Exchange, Expect, Part};
use crate::conversation::login::Phase;
use crate::conversation::requests::Copying;
use crate::conversation::transaction::Transaction;
use crate::protocol::frame::{BadLength, Fate, HEADER, MAX_HELD, Reading, announced};
use crate::protocol::message::{put, put_error, put_ready};
use crate::protocol::outbox::empty;
use crate::server_error::ServerError;

/// What has just been read off the transport, of which the first part is kept for the client.
struct Fresh<'f> {
    bytes: &'f mut [u8],
    read: usize,
    kept: usize,
}

impl Fresh<'_> {
    /// The next so many bytes, or as many as there are.
    fn next(&mut self, count: usize) -> Range<usize> {
        let start = self.read;
        self.read += count.min(self.bytes.len() - start);
        start..self.read
    }
}

impl Conversation {
    /// Takes what the server has written, in place: the first so many bytes of `fresh`, moved together,
    /// are the client's; what does not fit there follows in `to_client`.
    pub(crate) fn server_sent(&mut self, fresh: &mut [u8]) -> Result<usize, BadLength> {
        let mut fresh = Fresh {
            bytes: fresh,
            read: 0,
            kept: 0,
        };
        while fresh.read < fresh.bytes.len() {
            match self.reading {
                Reading::Header { bytes, filled } => self.read_header(&mut fresh, bytes, filled)?,
                Reading::Body { tag, left, fate } => {
                    self.read_body(&mut fresh, tag, left, fate)?;
                }
            }
        }
        Ok(fresh.kept)
    }

    fn read_header(
        &mut self,
        fresh: &mut Fresh<'_>,
        mut bytes: [u8; HEADER],
        filled: usize,
    ) -> Result<(), BadLength> {
        let range = fresh.next(HEADER - filled);
        let now_filled = filled + range.len();
        bytes[filled..now_filled].copy_from_slice(&fresh.bytes[range.clone()]);
        if now_filled < HEADER {
            self.reading = Reading::Header {
                bytes,
                filled: now_filled,
            };
            return Ok(());
        }
        let (tag, length) = announced(bytes)?;
        let fate = self.fate(tag);
        // A row may be as long as it is.
        if fate == Fate::Hold && tag != b'D' && length > MAX_HELD as usize {
            return Err(BadLength {
                tag,
                length: length as u32,
            });
        }
        if filled == 0 && length <= fresh.bytes.len() - fresh.read {
            // It lies here whole: nothing of it is copied.
            let body = fresh.next(length);
            let fate = match fate {
                Fate::Hold => self.whole(tag, &fresh.bytes[body.clone()])?,
                fate => fate,
            };
            if fate == Fate::Pass {
                self.emit(fresh, range.start..body.end);
            }
            self.reading = Reading::default();
            return self.after(tag);
        }
        match fate {
            Fate::Pass if filled == 0 => self.emit(fresh, range),
            Fate::Pass => self.to_client.end().extend_from_slice(&bytes),
            Fate::Hold => self.held.extend_from_slice(&bytes),
            Fate::Drop => {}
        }
        self.read_body(fresh, tag, length, fate)
    }

    fn read_body(
        &mut self,
        fresh: &mut Fresh<'_>,
        tag: u8,
        left: usize,
        fate: Fate,
    ) -> Result<(), BadLength> {
        let range = fresh.next(left);
        let left = left - range.len();
        match fate {
            Fate::Pass => self.emit(fresh, range),
            Fate::Hold => self.held.extend_from_slice(&fresh.bytes[range]),
            Fate::Drop => {}
        }
        self.reading = Reading::Body { tag, left, fate };
        if left > 0 {
            return Ok(());
        }
        if fate == Fate::Hold {
            let mut held = std::mem::take(&mut self.held);
            if self.whole(tag, &held[HEADER..])? == Fate::Pass {
                self.to_client.end().extend_from_slice(&held);
            }
            empty(&mut held);
            self.held = held;
        }
        self.reading = Reading::default();
        self.after(tag)
    }

    /// Gives bytes to the client: in place while nothing else stands before them.
    fn emit(&mut self, fresh: &mut Fresh<'_>, range: Range<usize>) {
        if self.to_client.is_empty() {
            let length = range.len();
            if range.start != fresh.kept {
                fresh.bytes.copy_within(range, fresh.kept);
            }
            fresh.kept += length;
        } else {
            self.to_client.end().extend_from_slice(&fresh.bytes[range]);
        }
    }

    /// What becomes of a message, as far as its tag tells.
    fn fate(&mut self, tag: u8) -> Fate {
        match tag {
            b'A' | b'N' | b'R' => return Fate::Pass,
            b'S' | b'K' | b'Z' | b'E' | b'C' | b'I' => return Fate::Hold,
            _ => {}
        }
        let Some(Expect::Remote(exchange)) = self.plan.front_mut() else {
            return Fate::Pass;
        };
        if exchange.silent || exchange.mismatch {
            return Fate::Drop;
        }
        match (exchange.part(), tag) {
            (Some(Part::Statement { .. } | Part::Commands { .. }), _) => Fate::Drop,
            (Some(_), b'1' | b'2' | b'3' | b't' | b'T' | b'n') => Fate::Hold,
            (Some(Part::Check(_) | Part::Close), _) => {
                // Rows before the description that they would have to fit.
                exchange.mismatch = true;
                Fate::Drop
            }
            _ => {
                if tag == b'G' {
                    self.copying = Copying::In {
                        extended: exchange.extended,
                    };
                }
                if tag == b'H' {
                    // Rows that their client may not want. What it sends before they have ended is lost to
                    // a PgBouncer, which believes at their end that no other answer is to come.
                    exchange.controls = true;
                    self.must_wait = true;
                }
                exchange.passed = true;
                // Where the rows of a COPY are the client's, those of it begin to pass with the server's readiness.
                if matches!(tag, b'D' | b'd' | b'G') && exchange.first_row.is_none() {
                    exchange.first_row = Some(Instant::now());
                }
                if tag == b'D' && exchange.narrow.is_some() {
                    Fate::Hold
                } else {
                    Fate::Pass
                }
            }
        }
    }

    /// Understands a whole message, and decides what becomes of it.
    fn whole(&mut self, tag: u8, body: &[u8]) -> Result<Fate, BadLength> {
        match (tag, body) {
            (b'K', [a, b, c, d, ..]) => {
                self.observed
                    .backend_named(i32::from_be_bytes([*a, *b, *c, *d]));
                return Ok(Fate::Pass);
            }
            (b'S', pair) => {
                let mut texts = pair.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                if let (Some(name), Some(value)) = (texts.next(), texts.next()) {
                    self.observed.parameter_reported(&name, &value);
                }
                return Ok(Fate::Pass);
            }
            (b'D', row) => return self.row(row),
            (b'Z', [status]) => return Ok(self.ready_for_query(*status)),
            (b'Z', _) => {
                let length = body.len() as u32 + 4;
                return Err(BadLength { tag, length });
            }
            _ => {}
        }
        let alone = tag == b'E'
            && self
                .plan
                .iter()
                .skip(1)
                .all(|expected| matches!(expected, Expect::Local { .. }));
        let mut plan = std::mem::take(&mut self.plan);
        let fate = match plan.front_mut() {
            Some(Expect::Remote(exchange)) => match tag {
                b'E' => self.error(exchange, body, alone),
                b'C' | b'I' => self.completed(exchange, body),
                _ => self.described(exchange, tag, body),
            },
            // The server speaks unasked: its last words before it hangs up.
            _ => {
                if tag == b'E' {
                    self.observed.error_reported(ServerError::from_fields(body));
                }
                Fate::Pass
            }
        };
        self.plan = plan;
        Ok(fate)
    }

    /// A row with more values than its client expects.
    fn row(&mut self, row: &[u8]) -> Result<Fate, BadLength> {
        let narrow = match self.plan.front() {
            Some(Expect::Remote(exchange)) => exchange.narrow,
            _ => None,
        };
        let Some(row) = narrow.and_then(|values| narrowed(row, values)) else {
            let length = row.len() as u32 + 4;
            return Err(BadLength { tag: b'D', length });
        };
        put(self.to_client.end(), b'D', &[&row]);
        Ok(Fate::Drop)
    }

    fn ready_for_query(&mut self, status: u8) -> Fate {
        let mut exchange = match self.plan.pop_front() {
            Some(Expect::Remote(exchange)) => exchange,
            unasked => {
                if let Some(local) = unasked {
                    self.plan.push_front(local);
                }
                self.status = status;
                return Fate::Pass;
            }
        };
        self.phase = Phase::Ready;
        if self.repeats(&mut exchange) {
            self.plan.push_front(Expect::Remote(exchange));
            return Fate::Drop;
        }
        if (exchange.failed || exchange.mismatch) && !exchange.silent {
            // Before the status is that of the time after it.
            self.tell_failure(&exchange);
        }
        self.status = status;
        self.settle(&mut exchange);
        if exchange.silent {
            if !exchange.committed {
                self.observed.spoil();
            }
            self.observed.request_answered(exchange.request, None);
            return Fate::Drop;
        }
        if exchange.mismatch {
            let mut error = Vec::new();
            put_error(&mut error, &SqlState::FEATURE_NOT_SUPPORTED, MISMATCH);
            let told = ServerError::from_fields(&error[HEADER..]);
            self.observed.error_reported(told);
            self.to_client.end().extend_from_slice(&error);
        }
        let told = self.transaction.status().unwrap_or(status);
        self.observed.request_answered(exchange.request, Some(told));
        if told == status {
            return Fate::Pass;
        }
        put_ready(self.to_client.end(), told);
        Fate::Drop
    }

    /// What the end of an exchange means for the transaction and for the statements.
    fn settle(&mut self, exchange: &mut Exchange) {
        // What the server has not answered by now it will not answer.
        for part in exchange.cut_short() {
            if let Part::Learn(id) = part {
                self.statements.refuse(id, true);
            }
        }
        self.copying = Copying::No;
        self.must_wait &= !exchange.is_waited_for();
        if exchange.begin_failed {
            let begun = self.status != b'I';
            self.transaction = Transaction::Broken { begun };
        } else if exchange.mismatch && self.status == b'T' {
            // The client is told that the statement failed, so that all of its transaction has to.
            self.transaction = Transaction::Broken { begun: true };
        } else if self.status == b'I'
            && !exchange.silent
            && matches!(self.transaction, Transaction::Open { .. })
        {
            self.transaction = Transaction::Plain;
        }
        if exchange.resets && !exchange.failed {
            self.session_was_reset();
        }
        if exchange.touches_resolution {
            self.statements.forget_all();
            self.resolution_borrowed = true;
        }
        if self.resolution_borrowed && self.status == b'I' {
            // A SET LOCAL, or a SET or a change of a table that was rolled back, has just ended.
            self.statements.forget_all();
            self.resolution_borrowed = false;
        }
        // Whoever waited behind it is worked on only from now.
        if let Some(Expect::Remote(next)) = self.plan.front_mut() {
            next.began = Instant::now();
        }
    }

    /// Once a message has been handled: what had to wait for it.
    fn after(&mut self, tag: u8) -> Result<(), BadLength> {
        self.deliver_local();
        if matches!(tag, b'Z' | b'G') && !self.inbox.is_empty() && self.phase == Phase::Ready {
            self.take_requests()?;
        }
        Ok(())
    }
}

const MISMATCH: &str =
    "the statement's result has changed since it was prepared; it is forgotten now";
