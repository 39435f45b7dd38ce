//! The second try of a statement whose plan or name the server refused before anything ran.
//!
//! The wire prepares it again and runs it again, and its client sees only the second answer. Meanwhile
//! nothing else is sent, because the answers would come in an unexpected order.

use crate::conversation::Conversation;
use crate::conversation::exchange::{Exchange, Part, Repeat};
use crate::conversation::head::put_head;
use crate::protocol::frame::{HEADER, announced};
use crate::protocol::message::{put, put_describe, put_parse, put_sync, split_text};
use crate::protocol::outbox::empty;
use crate::request::Request;
use crate::rules::Naming;

/// Whether an exchange that has reached its ReadyForQuery continues.
pub(super) fn repeats(conversation: &mut Conversation, exchange: &mut Exchange) -> bool {
    let goes_on = match exchange.repeat {
        Repeat::Wanted => {
            exchange.failed = false;
            exchange.passed = false;
            prepare_anew(conversation, exchange)
        }
        Repeat::Preparing if !exchange.failed && !exchange.mismatch => {
            exchange.repeat = Repeat::Running;
            run_again(conversation, exchange)
        }
        _ => false,
    };
    if !goes_on && exchange.repeatable {
        empty(&mut conversation.retained);
    }
    goes_on
}

/// A named statement is prepared first, and runs once that has worked. An unnamed one is prepared and
/// run in one batch.
fn prepare_anew(conversation: &mut Conversation, exchange: &mut Exchange) -> bool {
    put_settings_again(conversation, exchange);
    let Some(id) = exchange.statement else {
        return false;
    };
    let shared = conversation.is_shared();
    let Some(record) = conversation.statements.get_mut(id) else {
        return false;
    };
    if shared {
        // A pooler that keeps names treats a new name for the same text as the statement that was
        // refused.
        record.naming = Naming::Unnamed;
    }
    let name = record.take_name();
    let out = conversation.to_server.end();
    put_parse(out, &name, &record.tail);
    put_describe(out, &name);
    exchange.repeat = Repeat::Running;
    if exchange.request == Request::Housekeeping {
        exchange.parts.push(Part::Learn(id));
    } else {
        exchange.parts.push(Part::Check(id));
        match record.naming {
            Naming::Named => exchange.repeat = Repeat::Preparing,
            Naming::Unnamed => put_nameless(out, &conversation.retained),
        }
    }
    put_sync(out);
    true
}

fn run_again(conversation: &mut Conversation, exchange: &mut Exchange) -> bool {
    put_settings_again(conversation, exchange);
    let out = conversation.to_server.end();
    out.extend_from_slice(&conversation.retained);
    put_sync(out);
    true
}

/// Settings that travelled with a statement travel with its second try too.
fn put_settings_again(conversation: &mut Conversation, exchange: &mut Exchange) {
    let record = exchange
        .statement
        .and_then(|id| conversation.statements.get(id));
    let traits = record.map(|record| record.traits);
    if let Some(rules) = conversation.steering.rules() {
        let alone = traits.is_some_and(|traits| traits.is_bare(&rules));
        put_head(conversation, &rules, exchange, alone);
    }
}

/// Appends Bind and Execute with no statement's name in the Bind.
fn put_nameless(out: &mut Vec<u8>, bind_and_execute: &[u8]) {
    let parts = || {
        let (_tag, length) = announced(*bind_and_execute.first_chunk()?).ok()?;
        let (bind, execute) = bind_and_execute.split_at_checked(HEADER + length)?;
        let (portal, rest) = split_text(bind.get(HEADER..)?)?;
        Some((portal, split_text(rest)?.1, execute))
    };
    if let Some((portal, arguments, execute)) = parts() {
        put(out, b'B', &[portal, b"\0\0", arguments]);
        out.extend_from_slice(execute);
    }
}
