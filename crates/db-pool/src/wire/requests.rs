//! What the client asks: each request up to its Sync, and what becomes of it.

use std::sync::Arc;

use bytes::BytesMut;
use tokio_postgres::error::SqlState;

use super::conversation::Conversation;
use super::exchange::{Exchange, Part};
use super::frame::{BadLength, HEADER, MAX_LENGTH};
use super::message::{
    put, put_close, put_describe, put_parse, put_statement, put_sync, split_text,
};
use super::observe::Request;
use super::rules::{Naming, Rules};
use super::statements::{Id, Statements};
use super::text::{self, Begin};
use super::transaction::Transaction;

/// One whole message in the inbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    tag: u8,
    start: usize,
    end: usize,
}

impl Span {
    fn bytes(self, inbox: &[u8]) -> &[u8] {
        &inbox[self.start..self.end]
    }

    fn body(self, inbox: &[u8]) -> &[u8] {
        &inbox[self.start + HEADER..self.end]
    }
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
const PARSED: &[u8] = b"1\0\0\0\x04";
const CLOSED: &[u8] = b"3\0\0\0\x04";
const BOUND_AND_SET: &[u8] = b"2\0\0\0\x04C\0\0\0\x08SET\0";
const FAILED: &str =
    "current transaction is aborted, commands ignored until end of transaction block";

impl Conversation {
    /// Takes what the client writes.
    pub(crate) fn client_sent(&mut self, bytes: &[u8]) -> Result<(), BadLength> {
        if !self.ready {
            self.log_in(bytes);
            return Ok(());
        }
        self.inbox.extend_from_slice(bytes);
        self.take_requests()
    }

    /// Passes the login on, with our parameters in its first packet: a length, the version, pairs of
    /// texts, and a NUL.
    fn log_in(&mut self, bytes: &[u8]) {
        if self.started {
            self.to_server.extend_from_slice(bytes);
            return;
        }
        self.inbox.extend_from_slice(bytes);
        let mut length = [0; 4];
        let Some(announced) = self.inbox.get(..4) else {
            return;
        };
        length.copy_from_slice(announced);
        let length = u32::from_be_bytes(length) as usize;
        if self.inbox.len() < length {
            return;
        }
        let packet = std::mem::take(&mut self.inbox);
        self.started = true;
        let (packet, rest) = packet.split_at(length);
        let mut added = Vec::new();
        for (name, value) in self.steering.startup.iter() {
            for text in [name, value] {
                added.extend_from_slice(text.as_bytes());
                added.push(0);
            }
        }
        match packet.split_last() {
            // A CancelRequest and what else is not a startup packet ends in no list of pairs.
            Some((0, pairs)) if length > 16 && !added.is_empty() => {
                let longer = (length + added.len()) as u32;
                self.to_server.extend_from_slice(&longer.to_be_bytes());
                self.to_server.extend_from_slice(&pairs[4..]);
                self.to_server.extend_from_slice(&added);
                self.to_server.extend_from_slice(b"\0");
            }
            _ => self.to_server.extend_from_slice(packet),
        }
        self.to_server.extend_from_slice(rest);
    }

    /// Handles every request in the inbox that is whole, unless one must wait for the answer to BEGIN.
    pub(super) fn take_requests(&mut self) -> Result<(), BadLength> {
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut frames = std::mem::take(&mut self.frames);
        let mut handled = 0;
        while !self.begin_unanswered {
            let Some(span) = next_message(&inbox, self.scanned)? else {
                break;
            };
            self.scanned = span.end;
            frames.push(span);
            match span.tag {
                b'Q' | b'F' | b'S' => self.request(&inbox, &frames),
                // Termination, and COPY's data, which belongs to no request of its own. A Flush makes
                // the server answer before the Sync; what it flushes passes unchanged.
                b'X' | b'd' | b'c' | b'f' | b'H' => self.pass(&inbox, &frames),
                _ => continue,
            }
            frames.clear();
            handled = span.end;
        }
        inbox.drain(..handled);
        self.scanned -= handled;
        for frame in &mut frames {
            frame.start -= handled;
            frame.end -= handled;
        }
        self.inbox = inbox;
        self.frames = frames;
        Ok(())
    }

    fn request(&mut self, inbox: &[u8], frames: &[Span]) {
        let setting_up = self.set_up.answered < SET_UP.len() || !self.set_up.names.is_empty();
        if self.steering.answers_set_up && setting_up && self.answer_set_up(inbox, frames) {
            return;
        }
        let Some(rules) = self.steering.rules() else {
            return self.forward(inbox, frames);
        };
        let rules = &*rules;
        if self.statements.capacity() != rules.statement_cache {
            self.statements = Statements::new(rules.statement_cache);
        }
        match frames {
            [query] if query.tag == b'Q' => {
                let body = query.body(inbox);
                self.simple(rules, body.strip_suffix(b"\0").unwrap_or(body));
            }
            _ if self.transaction == Transaction::Broken => self.refuse_in_broken(inbox, frames),
            [parse, describe, sync]
                if (parse.tag, describe.tag, sync.tag) == (b'P', b'D', b'S') =>
            {
                self.prepare(rules, inbox, frames);
            }
            [bind, execute, sync] if (bind.tag, execute.tag, sync.tag) == (b'B', b'E', b'S') => {
                self.execute(rules, inbox, frames);
            }
            [close, sync] if (close.tag, sync.tag) == (b'C', b'S') => {
                self.close(inbox, frames);
            }
            _ => self.other(rules, inbox, frames),
        }
    }

    /// Answers diesel-async's set-up statements; `false` when the request is something else.
    fn answer_set_up(&mut self, inbox: &[u8], frames: &[Span]) -> bool {
        let body = frames[0].body(inbox);
        let names = &mut self.set_up.names;
        let known = |names: &[Box<[u8]>], name: &[u8]| names.iter().position(|n| **n == *name);
        match (frames[0].tag, frames.len()) {
            (b'P', 3) => {
                let Some((name, tail)) = split_text(body) else {
                    return false;
                };
                let Some((sql, _types)) = split_text(tail) else {
                    return false;
                };
                if self.set_up.answered >= SET_UP.len() || !SET_UP.contains(&sql) {
                    return false;
                }
                self.set_up.answered += 1;
                names.push(name.into());
                self.answer(DESCRIBED_AS_COMMAND, None);
            }
            (b'B', 3) => {
                let name = split_text(body).and_then(|(_portal, rest)| split_text(rest));
                let Some((name, _)) = name else { return false };
                if known(names, name).is_none() {
                    return false;
                }
                self.answer(BOUND_AND_SET, None);
            }
            (b'C', 2) => {
                let Some((name, _)) = body.get(1..).and_then(split_text) else {
                    return false;
                };
                let Some(place) = known(names, name) else {
                    return false;
                };
                names.swap_remove(place);
                self.answer(CLOSED, None);
            }
            _ => return false,
        }
        true
    }

    /// A simple query.
    fn simple(&mut self, rules: &Rules, sql: &[u8]) {
        let (commit, rollback) = (text::is_commit(sql), text::is_rollback(sql));
        match self.transaction {
            Transaction::Broken if commit || rollback => {
                self.transaction = Transaction::Plain;
                return self.answer_complete(b"ROLLBACK", None);
            }
            Transaction::Broken => {
                return self.answer_error(&SqlState::IN_FAILED_SQL_TRANSACTION, FAILED);
            }
            Transaction::Held { .. } if commit || rollback => {
                self.transaction = Transaction::Plain;
                let tag: &[u8] = if commit { b"COMMIT" } else { b"ROLLBACK" };
                return self.answer_complete(tag, None);
            }
            _ => {}
        }
        if let Some(refusal) = refusal(rules, sql) {
            return self.answer_error(&SqlState::FEATURE_NOT_SUPPORTED, &refusal);
        }
        let settled = self.is_settled();
        if defers(rules)
            && settled
            && self.transaction == Transaction::Plain
            && self.status == b'I'
            && let Some(begin) = Begin::parse(sql)
        {
            let sql = sql.strip_suffix(b";").unwrap_or(sql).into();
            self.transaction = Transaction::Held { sql, begin };
            return self.answer_complete(b"BEGIN", None);
        }
        if commit && settled && self.status == b'T' && self.transaction.is_harmless() {
            return self.commit_silently();
        }
        self.transaction.taint();

        let mut exchange = Exchange::new(if text::may_commit(sql) {
            Request::Commit
        } else {
            Request::Work
        });
        exchange.touches_resolution = text::touches_resolution(sql);
        exchange.text = self.watched(sql);
        // One message for all of it: a BEGIN that fails must take the rest with it.
        let mut head = Vec::new();
        let mut commands = 0;
        let begin = self.transaction.send_begin(rules.serializable_by_default);
        let is_begin = begin.is_some();
        if let Some(begin) = begin {
            head.extend_from_slice(&begin);
            head.push(b';');
            commands += 1;
            exchange.begins = true;
            self.transaction.taint();
        }
        let alone = sql.is_empty() || text::wants_to_be_alone(sql);
        if let Some(settings) = &rules.local_settings
            && (is_begin || (self.status == b'I' && !alone))
        {
            head.extend_from_slice(settings.sql());
            head.push(b';');
            commands += 1;
        }
        if commands > 0 {
            exchange.parts.push(Part::Commands {
                left: commands,
                is_begin,
            });
        }
        put(&mut self.to_server, b'Q', &[&head, sql, b"\0"]);
        self.expect(exchange);
    }

    /// Answers the COMMIT of a transaction that has only read, and sends it without waiting.
    fn commit_silently(&mut self) {
        self.transaction = Transaction::Plain;
        self.status = b'I';
        self.answer_complete(b"COMMIT", Some(b'I'));
        put(&mut self.to_server, b'Q', &[b"COMMIT\0"]);
        let mut exchange = Exchange::new(Request::Housekeeping);
        exchange.silent = true;
        self.expect(exchange);
    }

    /// Parse and Describe: answered here where the text is known, else sent and remembered.
    fn prepare(&mut self, rules: &Rules, inbox: &[u8], frames: &[Span]) {
        let Some((name, tail)) = split_text(frames[0].body(inbox)) else {
            return self.other(rules, inbox, frames);
        };
        if name.is_empty()
            || frames[1].body(inbox).get(1..)
                != Some(&inbox[frames[0].start + HEADER..][..=name.len()])
        {
            return self.other(rules, inbox, frames);
        }
        let sql = split_text(tail).map_or(tail, |(sql, _types)| sql);
        if let Some(refusal) = refusal(rules, sql) {
            return self.answer_error(&SqlState::FEATURE_NOT_SUPPORTED, &refusal);
        }
        if let Some(id) = self.statements.adopt(name, tail) {
            let mut messages = PARSED.to_vec();
            if let Some(record) = self.statements.get(id) {
                messages.extend_from_slice(record.description.as_deref().unwrap_or_default());
            }
            return self.answer(&messages, None);
        }
        if rules.naming == Naming::Named && rules.statement_cache == 0 {
            return self.other(rules, inbox, frames);
        }
        let id = self.statements.create(name, tail);
        let mut exchange = Exchange::new(Request::Housekeeping);
        self.put_head(rules, &mut exchange, text::wants_to_be_alone(sql));
        let name = if rules.naming == Naming::Named {
            name
        } else {
            b""
        };
        put_parse(&mut self.to_server, name, tail);
        put_describe(&mut self.to_server, name);
        put_sync(&mut self.to_server);
        exchange.parts.push(Part::Learn(id));
        self.expect(exchange);
    }

    /// Bind and Execute of a statement.
    fn execute(&mut self, rules: &Rules, inbox: &[u8], frames: &[Span]) {
        let bind = frames[0].body(inbox);
        let names = split_text(bind).and_then(|(portal, rest)| Some((portal, split_text(rest)?)));
        let Some((portal, (name, arguments))) = names else {
            return self.other(rules, inbox, frames);
        };
        let Some(id) = self.statements.named(name) else {
            return self.other(rules, inbox, frames);
        };
        let Some(record) = self.statements.get_mut(id) else {
            return;
        };
        let tail = Arc::clone(&record.tail);
        let (alone, plain) = (record.alone, record.plain_select);
        let mut exchange = Exchange::new(Request::Work);
        exchange.touches_resolution = record.touches_resolution;
        let named = rules.naming == Naming::Named;
        let to_parse = !named || record.prepared.is_none();
        let name: Box<[u8]> = match (&record.prepared, named) {
            (_, false) => Box::default(),
            (Some(prepared), true) => prepared.clone(),
            (None, true) => {
                record.prepared = Some(record.name.clone());
                record.name.clone()
            }
        };
        exchange.statement = Some(id);
        exchange.text = Some(Arc::clone(&tail));
        // Only where nothing can have run before it, and nobody waits behind it.
        exchange.repeatable = named
            && self.status == b'I'
            && self.is_settled()
            && self.transaction == Transaction::Plain;

        self.put_head(rules, &mut exchange, alone);
        if to_parse {
            put_parse(&mut self.to_server, &name, &tail);
            put_describe(&mut self.to_server, &name);
            exchange.parts.push(Part::Check(id));
        }
        let start = self.to_server.len();
        put(
            &mut self.to_server,
            b'B',
            &[portal, b"\0", &name, b"\0", arguments],
        );
        self.to_server.extend_from_slice(frames[1].bytes(inbox));
        if exchange.repeatable {
            self.retained.clear();
            self.retained.extend_from_slice(&self.to_server[start..]);
        }
        put_sync(&mut self.to_server);
        if !plain {
            self.transaction.taint();
        }
        self.expect(exchange);
    }

    /// Close of a statement: its text may stay, under another name or none.
    fn close(&mut self, inbox: &[u8], frames: &[Span]) {
        let body = frames[0].body(inbox);
        match (body.first(), body.get(1..).and_then(split_text)) {
            (Some(b'S'), Some((name, _))) if self.statements.named(name).is_some() => {
                self.statements.release(name);
                self.answer(CLOSED, None);
            }
            _ => self.forward(inbox, frames),
        }
    }

    /// A request of another shape: with the names the server knows, where it knows them.
    fn other(&mut self, rules: &Rules, inbox: &[u8], frames: &[Span]) {
        let mut body = BytesMut::new();
        for frame in frames {
            let known = self.known_name(frame.tag, frame.body(inbox));
            match known {
                None => body.extend_from_slice(frame.bytes(inbox)),
                Some(Known { before, after, id }) => {
                    let prepared = self
                        .statements
                        .get(id)
                        .and_then(|record| record.prepared.clone());
                    let Some(prepared) = prepared else {
                        let message = "this pipeline cannot be sent through a pooler without names; \
                                       set `statements = \"named\"` for its pool";
                        return self.answer_error(&SqlState::FEATURE_NOT_SUPPORTED, message);
                    };
                    put(&mut body, frame.tag, &[before, &prepared, b"\0", after]);
                }
            }
        }
        let runs = frames.iter().any(|frame| frame.tag == b'E');
        let mut exchange = Exchange::new(if runs {
            Request::Work
        } else {
            Request::Housekeeping
        });
        self.put_head(rules, &mut exchange, false);
        self.transaction.taint();
        self.to_server.extend_from_slice(&body);
        self.expect(exchange);
    }

    /// What the wire puts before the client's own statement: names to close, BEGIN, settings.
    fn put_head(&mut self, rules: &Rules, exchange: &mut Exchange, alone: bool) {
        if rules.naming == Naming::Named {
            for name in self.statements.take_to_close() {
                put_close(&mut self.to_server, &name);
                exchange.parts.push(Part::Close);
            }
        }
        let begin = self.transaction.send_begin(rules.serializable_by_default);
        let begins = begin.is_some();
        if let Some(begin) = begin {
            put_statement(&mut self.to_server, &begin);
            exchange.parts.push(Part::Statement { is_begin: true });
            exchange.begins = true;
            exchange.request = Request::Work;
        }
        if let Some(settings) = &rules.local_settings
            && (begins || (self.status == b'I' && !alone))
        {
            put_statement(&mut self.to_server, settings.sql());
            exchange.parts.push(Part::Statement { is_begin: false });
        }
    }

    /// Sends a request on as it is.
    fn forward(&mut self, inbox: &[u8], frames: &[Span]) {
        let mut request = Request::Housekeeping;
        for frame in frames {
            self.to_server.extend_from_slice(frame.bytes(inbox));
            request = match frame.tag {
                b'Q' if text::may_commit(frame.body(inbox)) => Request::Commit,
                b'Q' | b'E' | b'F' => Request::Work,
                _ => request,
            };
        }
        self.expect(Exchange::new(request));
    }

    fn pass(&mut self, inbox: &[u8], frames: &[Span]) {
        for frame in frames {
            self.to_server.extend_from_slice(frame.bytes(inbox));
        }
    }

    /// In a transaction that never began nothing reaches the server.
    fn refuse_in_broken(&mut self, inbox: &[u8], frames: &[Span]) {
        if let [close, _sync] = frames
            && close.tag == b'C'
        {
            return self.close(inbox, frames);
        }
        self.answer_error(&SqlState::IN_FAILED_SQL_TRANSACTION, FAILED);
    }

    /// Whether the server has answered everything that can change the transaction's status.
    pub(super) fn is_settled(&self) -> bool {
        self.plan.iter().all(|expected| match expected {
            super::exchange::Expect::Local { .. } => true,
            super::exchange::Expect::Remote(exchange) => exchange.silent,
        })
    }

    fn known_name<'b>(&mut self, tag: u8, body: &'b [u8]) -> Option<Known<'b>> {
        let before = match tag {
            b'B' => split_text(body)?.0.len() + 1,
            b'D' | b'C' if body.first() == Some(&b'S') => 1,
            _ => return None,
        };
        let (before, rest) = body.split_at(before);
        let (name, after) = split_text(rest)?;
        let id = self.statements.named(name)?;
        Some(Known { before, after, id })
    }

    /// A simple query's text, where somebody wants to hear of it.
    fn watched(&self, sql: &[u8]) -> Option<Arc<[u8]>> {
        // BEGIN, COMMIT and savepoints come with every transaction.
        let worth = sql.len() > 32 || text::may_commit(sql);
        (worth && self.steering.watcher().is_some()).then(|| sql.into())
    }
}

struct Known<'b> {
    before: &'b [u8],
    after: &'b [u8],
    id: Id,
}

fn defers(rules: &Rules) -> bool {
    // Settings that travel in the transaction's first batch need the BEGIN there.
    rules.defer_begin || rules.local_settings.is_some()
}

/// Why a statement cannot run on a session that is shared with others (case R32).
fn refusal(rules: &Rules, sql: &[u8]) -> Option<String> {
    let what = rules
        .shared_session
        .then(|| text::needs_own_session(sql))
        .flatten()?;
    Some(format!(
        "{what} needs a session of its own, and this pool goes through a transaction-mode pooler; \
         use a pool with via = \"direct\", which connects by DATABASE_URL_DIRECT"
    ))
}

fn next_message(inbox: &[u8], start: usize) -> Result<Option<Span>, BadLength> {
    let Some(header) = inbox.get(start..start + HEADER) else {
        return Ok(None);
    };
    let (tag, mut length) = (header[0], [0; 4]);
    length.copy_from_slice(&header[1..]);
    let length = u32::from_be_bytes(length);
    if !(4..=MAX_LENGTH).contains(&length) {
        return Err(BadLength { tag, length });
    }
    let end = start + 1 + length as usize;
    Ok((end <= inbox.len()).then_some(Span { tag, start, end }))
}
