//! Requests of the extended protocol: Parse, Bind, Execute and Close, and what the wire puts before them.

use std::sync::Arc;

use crate::conversation::Conversation;
use crate::conversation::description::has_no_rows;
use crate::conversation::early_commit::commit_behind;
use crate::conversation::exchange::{Exchange, Part};
use crate::conversation::forward::forward;
use crate::conversation::head::put_head;
use crate::conversation::inbox::Frame;
use crate::conversation::leftovers::{frames_leave, leaves};
use crate::conversation::pipeline::other;
use crate::conversation::refusal::{needs_settings, refusal};
use crate::prepared::statement_cache::Record;
use crate::protocol::message::{
    CLOSED, PARSED, put, put_describe, put_describe_portal, put_parse, put_statement, put_sync,
    split_text,
};
use crate::request::Request;
use crate::rules::{Naming, Rules};
use crate::sql::reads::Reads;
use crate::sql::traits::Traits;

/// A request that is longer than this is not kept for a second try.
const MAX_RETAINED: usize = 64 * 1024;

/// Parse and Describe: the wire answers them if it knows the text, and otherwise sends and remembers them.
pub(super) fn send_prepare(
    conversation: &mut Conversation,
    rules: &Rules,
    inbox: &[u8],
    frames: &[Frame],
) {
    let Some((name, tail)) = split_text(frames[0].body(inbox)) else {
        return other(conversation, rules, inbox, frames);
    };
    let described = frames[1].body(inbox);
    let describes_it = described.strip_prefix(b"S").and_then(split_text) == Some((name, b""));
    if name.is_empty() || !describes_it {
        return other(conversation, rules, inbox, frames);
    }
    if let Some(id) = conversation.statements.adopt(name, tail) {
        let mut messages = std::mem::take(&mut conversation.draft);
        messages.extend_from_slice(PARSED);
        if let Some(record) = conversation.statements.get(id) {
            messages.extend_from_slice(record.description.as_deref().unwrap_or_default());
        }
        return conversation.answer_draft(messages, None);
    }
    let text = split_text(tail).map_or(tail, |(sql, _types)| sql);
    let sql = conversation.sql(text);
    if let Some(refusal) = refusal(rules, sql, conversation.is_in_transaction()) {
        return conversation.refuse(&refusal);
    }
    let traits = Traits::of(sql);
    if let Some(refusal) = lacks_settings(conversation, rules, traits) {
        return conversation.refuse(&refusal);
    }
    if rules.naming == Naming::Named && rules.statement_cache == 0 {
        return other(conversation, rules, inbox, frames);
    }
    let id = conversation.statements.create(name, tail, traits);
    let record = conversation.statements.get_mut(id);
    let name = record.map(Record::take_name).unwrap_or_default();
    let mut exchange = Exchange::new(Request::Housekeeping);
    if let Some(record) = conversation.statements.get(id) {
        exchange.text = Some(Arc::clone(&record.tail));
        exchange.note = Some(Arc::clone(&record.note));
    }
    exchange.statement = Some(id);
    exchange.reads_alone = conversation.reads_alone(rules, traits.reads);
    exchange.repeatable = !name.is_empty() && (exchange.reads_alone || conversation.is_untouched());
    let bare = traits.is_bare(rules);
    put_head(conversation, rules, &mut exchange, bare);
    let out = conversation.to_server.end();
    put_parse(out, &name, tail);
    put_describe(out, &name);
    put_sync(out);
    exchange.parts.push(Part::Learn(id));
    conversation
        .observed
        .last_statement()
        .note(text, exchange.began);
    conversation.expect_answer(exchange);
}

/// Why a statement that must stand alone cannot run: outside a transaction, this pool has to send settings before it.
fn lacks_settings(conversation: &Conversation, rules: &Rules, traits: Traits) -> Option<String> {
    let outside = conversation.status == b'I' && conversation.transaction.status().is_none();
    (outside && traits.stands_alone)
        .then(|| needs_settings(rules))
        .flatten()
}

/// Bind and Execute of a statement.
pub(super) fn send_execute(
    conversation: &mut Conversation,
    rules: &Rules,
    inbox: &[u8],
    frames: &[Frame],
) {
    let bind = frames[0].body(inbox);
    let names = split_text(bind).and_then(|(portal, rest)| Some((portal, split_text(rest)?)));
    let Some((portal, (name, arguments))) = names else {
        return other(conversation, rules, inbox, frames);
    };
    let known = conversation.statements.named(name);
    let Some((id, record)) = known.and_then(|id| Some((id, conversation.statements.get_mut(id)?)))
    else {
        return other(conversation, rules, inbox, frames);
    };
    let (tail, note) = (Arc::clone(&record.tail), Arc::clone(&record.note));
    let traits = record.traits;
    if let Some(refusal) = lacks_settings(conversation, rules, traits) {
        return conversation.refuse(&refusal);
    }
    let undoes_a_change = conversation.meaning_borrowed && traits.partial_rollback;
    let Some(record) = conversation.statements.get_mut(id) else {
        return;
    };
    let mut exchange = Exchange::new(if traits.may_commit {
        Request::Commit
    } else {
        Request::Work
    });
    exchange.extended = true;
    exchange.only_reads = traits.reads > Reads::No;
    exchange.changes_meaning = traits.changes_meaning || undoes_a_change;
    let to_parse = !record.prepared;
    let named = record.give_name();
    exchange.narrow = record.narrow;
    exchange.statement = Some(id);
    exchange.text = Some(Arc::clone(&tail));
    exchange.note = Some(note);
    let by_portal = record.typed;
    let has_no_rows = by_portal && record.description.as_deref().is_some_and(has_no_rows);
    exchange.reads_alone = conversation.reads_alone(rules, traits.reads);
    exchange.repeatable = named
        && (exchange.reads_alone || conversation.is_untouched())
        && bind.len() <= MAX_RETAINED;

    // A client cannot misread a statement without rows whose parameters have stated types. Behind a pooler, any other
    // description that the client was told may turn out to be wrong, and then nothing may be committed.
    let check = (to_parse || rules.shared_session) && !has_no_rows;
    let run = frames[1];
    let to_the_end = run.body(inbox).ends_with(&[0; 4]);
    if conversation.steering.take_commit() && !check && to_the_end {
        commit_behind(conversation, &mut exchange, traits);
    }
    leaves(conversation, traits.residue);
    if traits.sets_timeout {
        conversation.observed.note_own_timeout(&tail);
    }
    let bare = traits.is_bare(rules);
    exchange.controls = rules.local_settings.is_some() && traits.controls;
    put_head(conversation, rules, &mut exchange, bare);
    let record = conversation.statements.get(id);
    let name = record.map(Record::server_name).unwrap_or_default();
    let out = conversation.to_server.end();
    if to_parse {
        put_parse(out, name, &tail);
    }
    // Describing the rows of a portal is cheaper than describing a statement, which a pooler has to look up.
    if check && !by_portal {
        put_describe(out, name);
        exchange.parts.push(Part::Check(id));
    } else if check {
        exchange.parts.push(Part::CheckPortal(id));
    } else if to_parse {
        exchange.parts.push(Part::Parsed(id));
    }
    let start = out.len();
    put(out, b'B', &[portal, b"\0", name, b"\0", arguments]);
    let run = run.bytes(inbox);
    if exchange.repeatable {
        conversation.retained.clear();
        conversation.retained.extend_from_slice(&out[start..]);
        conversation.retained.extend_from_slice(run);
    }
    if check && by_portal {
        put_describe_portal(out, portal);
    }
    out.extend_from_slice(run);
    if exchange.commits {
        put_statement(out, b"COMMIT");
    }
    put_sync(out);
    if traits.reads == Reads::No {
        conversation.transaction.taint();
    }
    conversation
        .observed
        .last_statement()
        .note(&tail, exchange.began);
    conversation.expect_answer(exchange);
}

/// Close of a statement. The wire may keep its text, under another name or without one.
pub(super) fn send_close(conversation: &mut Conversation, inbox: &[u8], frames: &[Frame]) {
    match frames[0]
        .body(inbox)
        .strip_prefix(b"S")
        .and_then(split_text)
    {
        Some((name, _)) if conversation.statements.release(name) => {
            conversation.answer(CLOSED, None);
        }
        Some((name, _)) => {
            conversation.texts.closed(name);
            frames_leave(conversation, inbox, frames);
            forward(conversation, inbox, frames);
        }
        None => {
            frames_leave(conversation, inbox, frames);
            forward(conversation, inbox, frames);
        }
    }
}
