//! Requests of the extended protocol: Parse, Bind, Execute and Close, and what the wire puts before them.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::exchange::{Exchange, Part};
use crate::conversation::login::CLOSED;
use crate::conversation::requests::Span;
use crate::conversation::simple::{FAILED, refusal};
use crate::conversation::transaction::Transaction;
use crate::observed::Request;
use crate::prepared::statements::{Id, Record};
use crate::prepared::texts::Noted;
use crate::protocol::message::{
    put, put_close, put_describe, put_parse, put_statement, put_sync, split_text,
};
use crate::rules::{Naming, Rules};
use crate::sql::text;

/// The answer to Parse.
pub(super) const PARSED: &[u8] = b"1\0\0\0\x04";

/// A request that is longer than this is not kept for a second try.
const MAX_RETAINED: usize = 64 * 1024;

const NAMELESS: &str = "this pipeline cannot be sent through a pooler without names; \
     set `statements = \"named\"` for its pool";

impl Conversation {
    /// Parse and Describe: answered here where the text is known, else sent and remembered.
    pub(super) fn prepare(&mut self, rules: &Rules, inbox: &[u8], frames: &[Span]) {
        let Some((name, tail)) = split_text(frames[0].body(inbox)) else {
            return self.other(rules, inbox, frames);
        };
        let described = frames[1].body(inbox);
        let describes_it = described.strip_prefix(b"S").and_then(split_text) == Some((name, b""));
        if name.is_empty() || !describes_it {
            return self.other(rules, inbox, frames);
        }
        let sql = split_text(tail).map_or(tail, |(sql, _types)| sql);
        if let Some(refusal) = refusal(rules, sql) {
            return self.answer_error(&SqlState::FEATURE_NOT_SUPPORTED, &refusal);
        }
        if let Some(id) = self.statements.adopt(name, tail) {
            let mut messages = std::mem::take(&mut self.draft);
            messages.extend_from_slice(PARSED);
            if let Some(record) = self.statements.get(id) {
                messages.extend_from_slice(record.description.as_deref().unwrap_or_default());
            }
            return self.answer_draft(messages, None);
        }
        if rules.naming == Naming::Named && rules.statement_cache == 0 {
            return self.other(rules, inbox, frames);
        }
        let id = self.statements.create(name, tail);
        let record = self.statements.get_mut(id);
        let name = record.map(Record::take_name).unwrap_or_default();
        let mut exchange = Exchange::new(Request::Housekeeping);
        if let Some(record) = self.statements.get(id) {
            exchange.text = Some(Arc::clone(&record.tail));
            exchange.note = Some(Arc::clone(&record.note));
        }
        exchange.statement = Some(id);
        exchange.repeatable = !name.is_empty() && self.is_untouched();
        self.put_head(rules, &mut exchange, text::wants_to_be_alone(sql));
        let out = self.to_server.end();
        put_parse(out, &name, tail);
        put_describe(out, &name);
        put_sync(out);
        exchange.parts.push(Part::Learn(id));
        self.observed.last_statement().note(sql, exchange.began);
        self.plan_answer(exchange);
    }

    /// Bind and Execute of a statement.
    pub(super) fn execute(&mut self, rules: &Rules, inbox: &[u8], frames: &[Span]) {
        let bind = frames[0].body(inbox);
        let names = split_text(bind).and_then(|(portal, rest)| Some((portal, split_text(rest)?)));
        let Some((portal, (name, arguments))) = names else {
            return self.other(rules, inbox, frames);
        };
        let known = self.statements.named(name);
        let Some((id, record)) = known.and_then(|id| Some((id, self.statements.get_mut(id)?)))
        else {
            return self.other(rules, inbox, frames);
        };
        let (tail, note) = (Arc::clone(&record.tail), Arc::clone(&record.note));
        let (alone, plain, residue) = (record.alone, record.plain_select, record.residue);
        let mut exchange = Exchange::new(if record.may_commit {
            Request::Commit
        } else {
            Request::Work
        });
        exchange.extended = true;
        exchange.only_reads = plain;
        exchange.touches_resolution = record.touches_resolution;
        let to_parse = !record.prepared;
        let named = record.give_name();
        exchange.statement = Some(id);
        exchange.text = Some(Arc::clone(&tail));
        exchange.note = Some(note);
        exchange.repeatable = named && self.is_untouched() && bind.len() <= MAX_RETAINED;

        self.leaves(residue);
        self.put_head(rules, &mut exchange, alone);
        let record = self.statements.get(id);
        let name = record.map(Record::server_name).unwrap_or_default();
        let out = self.to_server.end();
        if to_parse {
            put_parse(out, name, &tail);
        }
        if to_parse || rules.shared_session {
            put_describe(out, name);
            exchange.parts.push(Part::Check(id));
        }
        let start = out.len();
        put(out, b'B', &[portal, b"\0", name, b"\0", arguments]);
        out.extend_from_slice(frames[1].bytes(inbox));
        if exchange.repeatable {
            self.retained.clear();
            self.retained.extend_from_slice(&out[start..]);
        }
        put_sync(out);
        if !plain {
            self.transaction.taint();
        }
        self.observed.last_statement().note(&tail, exchange.began);
        self.plan_answer(exchange);
    }

    /// Close of a statement: its text may stay, under another name or none.
    pub(super) fn close(&mut self, inbox: &[u8], frames: &[Span]) {
        match frames[0]
            .body(inbox)
            .strip_prefix(b"S")
            .and_then(split_text)
        {
            Some((name, _)) if self.statements.release(name) => self.answer(CLOSED, None),
            Some((name, _)) => {
                self.texts.closed(name);
                self.frames_leave(inbox, frames);
                self.forward(inbox, frames);
            }
            None => {
                self.frames_leave(inbox, frames);
                self.forward(inbox, frames);
            }
        }
    }

    /// A request of another shape: with the names the server knows, where it knows them.
    pub(super) fn other(&mut self, rules: &Rules, inbox: &[u8], frames: &[Span]) {
        if !frames.iter().any(|frame| b"PBDEFQ".contains(&frame.tag)) {
            return self.forward(inbox, frames);
        }
        let Some((body, known)) = self.renamed(inbox, frames) else {
            return self.answer_error(&SqlState::FEATURE_NOT_SUPPORTED, NAMELESS);
        };
        self.frames_leave(inbox, frames);
        let runs = frames.iter().any(|frame| b"EFQ".contains(&frame.tag));
        let mut exchange = Exchange::new(if runs {
            Request::Work
        } else {
            Request::Housekeeping
        });
        exchange.extended = frames.iter().all(|frame| frame.tag != b'Q');
        if let Some(noted) = self.noted(inbox, frames) {
            exchange.text = Some(noted.text);
            exchange.note = Some(noted.note);
        }
        self.put_head(rules, &mut exchange, false);
        self.transaction.taint();
        for id in known {
            let Some(record) = self.statements.get_mut(id) else {
                continue;
            };
            let to_parse = !record.prepared;
            let name = record.take_name();
            let out = self.to_server.end();
            if to_parse {
                put_parse(out, &name, &record.tail);
            }
            if to_parse || rules.shared_session {
                put_describe(out, &name);
                exchange.parts.push(Part::Check(id));
            }
        }
        self.to_server.end().extend_from_slice(&body);
        // Without a Parse in it nothing here tells what runs: better no text than that of another.
        let parse = frames.iter().find(|frame| frame.tag == b'P');
        let text = parse.and_then(|parse| split_text(parse.body(inbox)));
        let text = text.map_or(&b""[..], |(_name, text)| text);
        self.observed.last_statement().note(text, exchange.began);
        self.plan_answer(exchange);
    }

    /// The text that a request of another shape runs; the last, where it runs several.
    fn noted(&mut self, inbox: &[u8], frames: &[Span]) -> Option<Noted> {
        self.steering.watcher()?;
        let mut noted = None;
        for frame in frames {
            let body = frame.body(inbox);
            match frame.tag {
                b'P' => {
                    let (name, tail) = split_text(body)?;
                    noted = Some(self.texts.prepared(name, split_text(tail)?.0));
                }
                b'B' => {
                    let (name, _arguments) = split_text(split_text(body)?.1)?;
                    let record = self.statements.known(name);
                    let record = record.and_then(|id| self.statements.get(id));
                    let known = record.map(|record| Noted {
                        text: Arc::clone(&record.tail),
                        note: Arc::clone(&record.note),
                    });
                    noted = known.or_else(|| self.texts.named(name)).or(noted);
                }
                b'Q' => noted = Some(self.texts.noted(split_text(body)?.0)),
                _ => {}
            }
        }
        noted
    }

    /// The rest of a request whose beginning has gone out with a Flush.
    pub(super) fn continue_flushed(&mut self, inbox: &[u8], frames: &[Span]) {
        self.frames_leave(inbox, frames);
        match self.renamed(inbox, frames) {
            Some((body, _)) => self.to_server.end().extend_from_slice(&body),
            None => self.pass(inbox, frames),
        }
    }

    /// Messages with the server's names for the client's, and the statements that they speak of; nothing
    /// where these have no names and one statement is not enough.
    fn renamed(&self, inbox: &[u8], frames: &[Span]) -> Option<(Vec<u8>, Vec<Id>)> {
        let mut body = Vec::new();
        let mut known = Vec::new();
        let mut nameless = 0;
        for frame in frames {
            let Some(Known { before, after, id }) = self.known_name(frame.tag, frame.body(inbox))
            else {
                body.extend_from_slice(frame.bytes(inbox));
                continue;
            };
            let record = self.statements.get(id)?;
            let name = record.server_name();
            if !known.contains(&id) {
                known.push(id);
                nameless += usize::from(name.is_empty());
            }
            put(&mut body, frame.tag, &[before, name, b"\0", after]);
        }
        let parses = frames.iter().any(|frame| frame.tag == b'P');
        let enough = nameless == 0 || nameless + usize::from(parses) < 2;
        enough.then_some((body, known))
    }

    /// What the wire puts before the client's own statement: names to close, BEGIN, settings.
    pub(super) fn put_head(&mut self, rules: &Rules, exchange: &mut Exchange, alone: bool) {
        let out = self.to_server.end();
        for name in self.statements.take_to_close() {
            put_close(out, &name);
            exchange.parts.push(Part::Close);
        }
        let opening = self.transaction.send_begin(rules);
        let begins = opening.is_some();
        if let Some(opening) = &opening {
            put_statement(out, &opening.sql);
            exchange.parts.push(Part::Statement { is_begin: true });
            exchange.begins = true;
            if exchange.request == Request::Housekeeping {
                exchange.request = Request::Work;
            }
        }
        if let Some(settings) = &rules.local_settings
            && (begins || (self.status == b'I' && !alone))
        {
            for statement in settings.statements(begins) {
                put_statement(out, statement);
                exchange.parts.push(Part::Statement { is_begin: false });
            }
        }
        // Behind those of the pool, which they overrule.
        for setting in opening.iter().flat_map(|opening| &opening.settings) {
            put_statement(out, setting);
            exchange.parts.push(Part::Statement { is_begin: false });
        }
    }

    /// Whether nothing can have run before what is sent now.
    fn is_untouched(&self) -> bool {
        self.status == b'I' && self.is_settled() && self.transaction == Transaction::Plain
    }

    /// In a transaction that never began nothing reaches the server.
    pub(super) fn refuse_in_broken(&mut self, inbox: &[u8], frames: &[Span]) {
        match frames {
            [close, _sync] if close.tag == b'C' => self.close(inbox, frames),
            [sync] if sync.tag == b'S' => self.answer(b"", None),
            _ => self.answer_error(&SqlState::IN_FAILED_SQL_TRANSACTION, FAILED),
        }
    }

    fn known_name<'b>(&self, tag: u8, body: &'b [u8]) -> Option<Known<'b>> {
        let before = match tag {
            b'B' => split_text(body)?.0.len() + 1,
            b'D' | b'C' if body.first() == Some(&b'S') => 1,
            _ => return None,
        };
        let (before, rest) = body.split_at(before);
        let (name, after) = split_text(rest)?;
        let id = self.statements.known(name)?;
        Some(Known { before, after, id })
    }
}

/// A message that speaks of a statement by a name of the client's.
struct Known<'b> {
    before: &'b [u8],
    after: &'b [u8],
    id: Id,
}
