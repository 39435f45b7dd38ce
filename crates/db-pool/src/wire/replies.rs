//! What the server answers: which of it the client gets, and what the wire learns from it.

use std::time::Instant;

use bytes::BytesMut;
use tokio_postgres::error::SqlState;

use super::conversation::Conversation;
use super::exchange::{Exchange, Expect, Part, Repeat};
use super::frame::{BadLength, Fate, HEADER, MAX_HELD, Reading, announced};
use super::message::{put_close, put_describe, put_error, put_parse, put_ready, put_sync, rows_of};
use super::observe::Request;
use super::rules::Command;
use super::statements::Id;
use super::text;
use super::transaction::Transaction;
use crate::server_error::ServerError;

impl Conversation {
    /// Takes what the server has written, in place: the first so many bytes of `fresh`, moved together,
    /// are the client's; what does not fit there follows in `to_client`.
    pub(crate) fn server_sent(&mut self, fresh: &mut [u8]) -> Result<usize, BadLength> {
        let (mut read, mut kept) = (0, 0);
        while read < fresh.len() {
            match self.reading {
                Reading::Body { left, fate } => {
                    let taken = left.min(fresh.len() - read);
                    let end = read + taken;
                    match fate {
                        Fate::Pass => self.emit(fresh, read..end, &mut kept),
                        Fate::Hold => self.held.extend_from_slice(&fresh[read..end]),
                        Fate::Drop => {}
                    }
                    read = end;
                    if left > taken {
                        self.reading = Reading::Body {
                            left: left - taken,
                            fate,
                        };
                        continue;
                    }
                    self.reading = Reading::default();
                    if fate == Fate::Hold {
                        let held = std::mem::take(&mut self.held);
                        if self.whole(held[0], &held[HEADER..])? == Fate::Pass {
                            self.to_client.extend_from_slice(&held);
                        }
                        self.held = held;
                    }
                }
                Reading::Header { mut bytes, filled } => {
                    let taken = (HEADER - filled).min(fresh.len() - read);
                    bytes[filled..filled + taken].copy_from_slice(&fresh[read..read + taken]);
                    let start = read;
                    read += taken;
                    if filled + taken < HEADER {
                        self.reading = Reading::Header {
                            bytes,
                            filled: filled + taken,
                        };
                        continue;
                    }
                    let (tag, length) = announced(bytes)?;
                    let fate = self.fate(tag);
                    if fate == Fate::Hold && length > MAX_HELD as usize {
                        return Err(BadLength {
                            tag,
                            length: length as u32,
                        });
                    }
                    let end = read + length;
                    if filled == 0 && end <= fresh.len() {
                        // It lies here whole: nothing of it is copied.
                        let fate = match fate {
                            Fate::Hold => self.whole(tag, &fresh[read..end])?,
                            fate => fate,
                        };
                        if fate == Fate::Pass {
                            self.emit(fresh, start..end, &mut kept);
                        }
                        self.after(tag)?;
                        self.reading = Reading::default();
                        read = end;
                        continue;
                    }
                    match fate {
                        Fate::Pass if filled == 0 => self.emit(fresh, start..read, &mut kept),
                        Fate::Pass => self.to_client.extend_from_slice(&bytes),
                        Fate::Hold => {
                            self.held.clear();
                            self.held.extend_from_slice(&bytes);
                        }
                        Fate::Drop => {}
                    }
                    self.reading = Reading::Body { left: length, fate };
                    if length == 0 {
                        self.reading = Reading::default();
                        if fate == Fate::Hold && self.whole(tag, &[])? == Fate::Pass {
                            self.to_client.extend_from_slice(&bytes);
                        }
                    }
                }
            }
        }
        Ok(kept)
    }

    /// Gives bytes to the client: in place while nothing else stands before them.
    fn emit(&mut self, fresh: &mut [u8], range: std::ops::Range<usize>, kept: &mut usize) {
        if self.to_client.is_empty() {
            let length = range.len();
            if range.start != *kept {
                fresh.copy_within(range, *kept);
            }
            *kept += length;
        } else {
            self.to_client.extend_from_slice(&fresh[range]);
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
            _ => {
                exchange.passed = true;
                Fate::Pass
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
            (b'Z', [status, ..]) => return self.ready_for_query(*status),
            _ => {}
        }
        let mut plan = std::mem::take(&mut self.plan);
        let fate = match plan.front_mut() {
            Some(Expect::Remote(exchange)) => match tag {
                b'E' => self.error(exchange, body),
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

    fn error(&mut self, exchange: &mut Exchange, body: &[u8]) -> Fate {
        let error = ServerError::from_fields(body);
        let stale = is_stale(&error);
        let learning = exchange.parts.iter().find_map(|part| match part {
            Part::Learn(id) | Part::Check(id) => Some(*id),
            _ => None,
        });
        if stale {
            self.observed.statement_was_stale();
            if *error.sqlstate() == SqlState::INVALID_SQL_STATEMENT_NAME {
                self.statements.names_lost();
            }
        }
        if let Some(id) = exchange.statement.filter(|_| stale).or(learning) {
            self.statements.forget(id);
        }
        exchange.failed = true;
        exchange.mismatch = false;
        if stale && exchange.repeatable && !exchange.passed && exchange.repeat == Repeat::No {
            exchange.repeat = Repeat::Wanted;
            exchange.parts.clear();
            return Fate::Drop;
        }
        if let Some(Part::Statement { is_begin: true } | Part::Commands { is_begin: true, .. }) =
            exchange.part()
        {
            // As far as the client knows, the error is its statement's.
            exchange.begin_failed = true;
        }
        exchange.parts.clear();
        self.observed.error_reported(error);
        if exchange.silent {
            Fate::Drop
        } else {
            Fate::Pass
        }
    }

    fn completed(&mut self, exchange: &mut Exchange, tag: &[u8]) -> Fate {
        match exchange.part() {
            Some(Part::Statement { .. }) => {
                exchange.part_done();
                return Fate::Drop;
            }
            Some(Part::Commands { left, .. }) => {
                *left -= 1;
                // Once BEGIN is through, a later failure is not BEGIN's.
                if let Some(Part::Commands { is_begin, .. }) = exchange.parts.first_mut() {
                    *is_begin = false;
                }
                if let Some(Part::Commands { left: 0, .. }) = exchange.parts.first() {
                    exchange.part_done();
                }
                return Fate::Drop;
            }
            _ => {}
        }
        exchange.committed = tag.starts_with(b"COMMIT");
        if exchange.request == Request::Commit && tag.starts_with(b"ROLLBACK") {
            self.observed.commit_was_refused();
        }
        if exchange.silent {
            return Fate::Drop;
        }
        self.observed.statement_completed();
        if text::is_ddl_tag(tag) {
            self.statements.forget_all();
        }
        if !exchange.mismatch {
            self.tell(exchange, rows_of(tag));
        }
        exchange.passed = true;
        if exchange.mismatch {
            Fate::Drop
        } else {
            Fate::Pass
        }
    }

    /// Tells whoever watches of a finished command.
    fn tell(&self, exchange: &Exchange, rows: u64) {
        let (Some(text), Some(watcher)) = (&exchange.text, self.steering.watcher()) else {
            return;
        };
        watcher(&Command {
            sql: text.split(|byte| *byte == 0).next().unwrap_or_default(),
            duration: exchange.began.elapsed(),
            rows,
            failed: exchange.failed,
            in_transaction: self.status != b'I' || exchange.begins,
        });
    }

    /// Answers to Parse, Describe and Close, the client's or ours.
    fn described(&mut self, exchange: &mut Exchange, tag: u8, body: &[u8]) -> Fate {
        let Some(part) = exchange.part().copied() else {
            return Fate::Pass;
        };
        match (part, tag) {
            (Part::Close, b'3') => {
                exchange.part_done();
                Fate::Drop
            }
            (Part::Check(_), b'1') => {
                self.described.clear();
                Fate::Drop
            }
            (Part::Learn(id), b'1') => {
                self.described.clear();
                if let Some(record) = self.statements.get_mut(id) {
                    record.prepared = Some(record.name.clone());
                }
                exchange.passed = true;
                Fate::Pass
            }
            (Part::Check(id) | Part::Learn(id), b't' | b'T' | b'n') => {
                let mut message = BytesMut::new();
                super::message::put(&mut message, tag, &[body]);
                self.described.extend_from_slice(&message);
                let learns = matches!(part, Part::Learn(_));
                if tag != b't' {
                    exchange.part_done();
                    if learns {
                        self.learn(id);
                    } else {
                        self.check(exchange, id);
                    }
                }
                if learns { Fate::Pass } else { Fate::Drop }
            }
            _ => {
                exchange.passed = true;
                Fate::Pass
            }
        }
    }

    fn learn(&mut self, id: Id) {
        let description = self.described.as_slice().into();
        if let Some(record) = self.statements.get_mut(id) {
            record.description = Some(description);
            self.statements.remember(id);
        }
    }

    /// Compares what the server says of a statement now with what its client was told.
    fn check(&mut self, exchange: &mut Exchange, id: Id) {
        let Some(record) = self.statements.get_mut(id) else {
            return;
        };
        match &record.description {
            Some(told) if !still_fits(told, &self.described) => {
                exchange.mismatch = true;
                self.statements.forget(id);
                self.observed.statement_was_stale();
            }
            _ => {}
        }
    }

    fn ready_for_query(&mut self, status: u8) -> Result<Fate, BadLength> {
        let Some(Expect::Remote(mut exchange)) = self.plan.pop_front() else {
            self.status = status;
            return Ok(Fate::Pass);
        };
        self.ready = true;
        match exchange.repeat {
            Repeat::Wanted => {
                exchange.repeat = Repeat::Preparing;
                self.prepare_anew(&mut exchange);
                self.plan.push_front(Expect::Remote(exchange));
                return Ok(Fate::Drop);
            }
            Repeat::Preparing if !exchange.failed && !exchange.mismatch => {
                exchange.repeat = Repeat::Running;
                self.to_server.extend_from_slice(&self.retained);
                put_sync(&mut self.to_server);
                self.plan.push_front(Expect::Remote(exchange));
                return Ok(Fate::Drop);
            }
            _ => {}
        }
        self.status = status;
        if exchange.mismatch {
            let mut error = BytesMut::new();
            put_error(&mut error, &SqlState::FEATURE_NOT_SUPPORTED, MISMATCH);
            self.observed
                .error_reported(ServerError::from_fields(&error[HEADER..]));
            self.to_client.extend_from_slice(&error);
        }
        if exchange.failed && !exchange.silent {
            self.tell(&exchange, 0);
        }
        self.settle(&exchange);
        if exchange.silent {
            if !exchange.committed {
                self.observed.spoil();
            }
            self.observed.request_answered(exchange.request, None);
            return Ok(Fate::Drop);
        }
        let told = self.transaction.status(status);
        self.observed.request_answered(exchange.request, Some(told));
        if told == status {
            return Ok(Fate::Pass);
        }
        put_ready(&mut self.to_client, told);
        Ok(Fate::Drop)
    }

    /// What the end of an exchange means for the transaction and for the statements.
    fn settle(&mut self, exchange: &Exchange) {
        if exchange.begins {
            self.begin_unanswered = false;
            if exchange.begin_failed {
                self.transaction = Transaction::Broken;
            }
        }
        if self.status == b'I' && matches!(self.transaction, Transaction::Open { .. }) {
            self.transaction = Transaction::Plain;
        }
        if exchange.touches_resolution {
            self.statements.forget_all();
            self.resolution_borrowed = true;
        }
        if self.resolution_borrowed && self.status == b'I' {
            // A SET LOCAL, or a SET that was rolled back, has just ended.
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
        if tag == b'Z' {
            self.deliver_local();
            if !self.inbox.is_empty() && !self.begin_unanswered {
                self.take_requests()?;
            }
        }
        Ok(())
    }

    /// Prepares a statement again whose plan the server refused; nothing has run.
    fn prepare_anew(&mut self, exchange: &mut Exchange) {
        exchange.failed = false;
        let Some(record) = exchange
            .statement
            .and_then(|id| self.statements.get_mut(id))
        else {
            return;
        };
        let id = exchange.statement.unwrap_or_default();
        let (name, tail) = (record.name.clone(), std::sync::Arc::clone(&record.tail));
        record.prepared = Some(name.clone());
        for name in self.statements.take_to_close() {
            put_close(&mut self.to_server, &name);
            exchange.parts.push(Part::Close);
        }
        put_parse(&mut self.to_server, &name, &tail);
        put_describe(&mut self.to_server, &name);
        put_sync(&mut self.to_server);
        exchange.parts.push(Part::Check(id));
    }
}

/// Whether an answer to the newer description can be read by the older one: the same parameters, and the
/// same columns at the beginning. More columns behind them are not looked at by anybody.
fn still_fits(told: &[u8], now: &[u8]) -> bool {
    if told == now {
        return true;
    }
    let (Some((told_parameters, told_rows)), Some((parameters, rows))) =
        (halves(told), halves(now))
    else {
        return false;
    };
    let columns = |message: &[u8]| message.get(HEADER..HEADER + 2).map(|n| [n[0], n[1]]);
    told_parameters == parameters
        && told_rows.first() == Some(&b'T')
        && rows.first() == Some(&b'T')
        && columns(told_rows) <= columns(rows)
        && rows[HEADER + 2..].starts_with(&told_rows[HEADER + 2..])
}

/// ParameterDescription, and RowDescription or NoData.
fn halves(description: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut header = [0; HEADER];
    header.copy_from_slice(description.get(..HEADER)?);
    let (_tag, length) = announced(header).ok()?;
    description.split_at_checked(HEADER + length)
}

/// A plan whose result has changed, or a name that the server does not know.
fn is_stale(error: &ServerError) -> bool {
    let refused_plan = *error.sqlstate() == SqlState::FEATURE_NOT_SUPPORTED
        && error.routine() == Some("RevalidateCachedQuery");
    refused_plan || *error.sqlstate() == SqlState::INVALID_SQL_STATEMENT_NAME
}

const MISMATCH: &str =
    "the statement's result has changed since it was prepared; it is forgotten now";
