//! Requests of a shape that diesel-async does not send. They go out with the names that the server knows.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::exchange::{Exchange, Part};
use crate::conversation::forward::{forward, pass};
use crate::conversation::head::put_head;
use crate::conversation::inbox::Frame;
use crate::conversation::leftovers::{frames_leave, send_reset};
use crate::prepared::statement_cache::StatementId;
use crate::prepared::texts::Noted;
use crate::protocol::message::{put, put_describe, put_parse, split_text};
use crate::request::Request;
use crate::rules::Rules;
use crate::sql::reads::Reads;
use crate::sql::transactions::{is_partial_rollback, may_commit};

const NAMELESS: &str = "this pipeline needs several named statements, and this pool sends no names through its pooler; \
                        set `statements = \"named\"` for its pool";

/// Sends a request of another shape, and uses the server's names for the statements that the server
/// knows.
pub(super) fn other(
    conversation: &mut Conversation,
    rules: &Rules,
    inbox: &[u8],
    frames: &[Frame],
) {
    if !frames.iter().any(|frame| b"PBDEFQ".contains(&frame.tag)) {
        return forward(conversation, inbox, frames);
    }
    let Some((body, known)) = renamed(conversation, inbox, frames) else {
        return conversation.answer_error(&SqlState::FEATURE_NOT_SUPPORTED, NAMELESS);
    };
    // The wire does not know where a request of this shape ends.
    let _unheeded = conversation.steering.take_commit();
    frames_leave(conversation, inbox, frames);
    let runs = frames.iter().any(|frame| b"EFQ".contains(&frame.tag));
    let mut exchange = Exchange::new(if runs {
        Request::Work
    } else {
        Request::Housekeeping
    });
    exchange.extended = frames.iter().all(|frame| frame.tag != b'Q');
    if let Some(noted) = noted(conversation, inbox, frames) {
        exchange.text = Some(noted.text);
        exchange.note = Some(noted.note);
    }
    put_head(conversation, rules, &mut exchange, false);
    conversation.transaction.taint();
    for id in known {
        let Some(record) = conversation.statements.get_mut(id) else {
            continue;
        };
        let to_parse = !record.prepared;
        let name = record.take_name();
        let out = conversation.to_server.end();
        if to_parse {
            put_parse(out, &name, &record.tail);
        }
        if to_parse || rules.shared_session || record.narrow.is_some() {
            put_describe(out, &name);
            exchange.parts.push(Part::Check(id));
        }
    }
    conversation.to_server.end().extend_from_slice(&body);
    // Without a Parse the wire does not know here what runs. No text is better than the text of another statement.
    let parse = frames.iter().find(|frame| frame.tag == b'P');
    let text = parse.and_then(|parse| split_text(parse.body(inbox)));
    let text = text.map_or(&b""[..], |(_name, text)| text);
    conversation
        .observed
        .last_statement()
        .note(text, exchange.began);
    conversation.expect_answer(exchange);
}

/// Passes a request as it is and watches it: the wire notes what it runs and what it leaves behind.
pub(super) fn observe(
    conversation: &mut Conversation,
    rules: &Rules,
    inbox: &[u8],
    frames: &[Frame],
) {
    if let [query] = frames
        && query.tag == b'Q'
        && send_reset(
            conversation,
            rules,
            query.body(inbox).strip_suffix(b"\0").unwrap_or_default(),
        )
    {
        return;
    }
    frames_leave(conversation, inbox, frames);
    let noted = noted(conversation, inbox, frames);
    let runs = frames.iter().any(|frame| b"EFQ".contains(&frame.tag));
    let text = noted.as_ref().map_or(&b""[..], |noted| &noted.text);
    let sql = conversation.sql(text);
    let mut exchange = Exchange::new(match runs {
        true if may_commit(sql) => Request::Commit,
        true => Request::Work,
        false => Request::Housekeeping,
    });
    exchange.extended = frames.iter().all(|frame| frame.tag != b'Q');
    exchange.only_reads = Reads::of(sql) > Reads::No;
    exchange.partial_rollback = is_partial_rollback(sql);
    if runs {
        conversation
            .observed
            .note_unbounded(rules.local_settings.is_some());
        conversation
            .observed
            .last_statement()
            .note(text, exchange.began);
    }
    if let Some(noted) = noted {
        exchange.text = Some(noted.text);
        exchange.note = Some(noted.note);
    }
    for frame in frames {
        if let (b'C', Some(rest)) = (frame.tag, frame.body(inbox).strip_prefix(b"S")) {
            let name = split_text(rest).map_or(rest, |(name, _)| name);
            conversation.texts.closed(name);
        }
    }
    pass(conversation, inbox, frames);
    conversation.expect_answer(exchange);
}

/// The text that a request of another shape runs; the last one if it runs several.
fn noted(conversation: &mut Conversation, inbox: &[u8], frames: &[Frame]) -> Option<Noted> {
    conversation.steering.watcher()?;
    let mut noted = None;
    for frame in frames {
        let body = frame.body(inbox);
        match frame.tag {
            b'P' => {
                let (name, tail) = split_text(body)?;
                noted = Some(conversation.texts.prepared(name, split_text(tail)?.0));
            }
            b'B' => {
                let (name, _arguments) = split_text(split_text(body)?.1)?;
                let record = conversation.statements.known(name);
                let record = record.and_then(|id| conversation.statements.get(id));
                let known = record.map(|record| Noted {
                    text: Arc::clone(&record.tail),
                    note: Arc::clone(&record.note),
                });
                noted = known.or_else(|| conversation.texts.named(name)).or(noted);
            }
            b'Q' => noted = Some(conversation.texts.noted(split_text(body)?.0)),
            _ => {}
        }
    }
    noted
}

/// Sends the rest of a request whose beginning a Flush has sent.
pub(super) fn continue_flushed(conversation: &mut Conversation, inbox: &[u8], frames: &[Frame]) {
    frames_leave(conversation, inbox, frames);
    match renamed(conversation, inbox, frames) {
        Some((body, _)) => conversation.to_server.end().extend_from_slice(&body),
        None => pass(conversation, inbox, frames),
    }
}

/// The messages with the server's names in place of the client's, and the statements that they name.
/// Returns nothing if those statements have no names and the request uses more than one.
fn renamed(
    conversation: &Conversation,
    inbox: &[u8],
    frames: &[Frame],
) -> Option<(Vec<u8>, Vec<StatementId>)> {
    let mut body = Vec::new();
    let mut known = Vec::new();
    let mut nameless = 0;
    for frame in frames {
        let Some(NamedMessage { before, after, id }) =
            known_name(conversation, frame.tag, frame.body(inbox))
        else {
            body.extend_from_slice(frame.bytes(inbox));
            continue;
        };
        let record = conversation.statements.get(id)?;
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

fn known_name<'b>(
    conversation: &Conversation,
    tag: u8,
    body: &'b [u8],
) -> Option<NamedMessage<'b>> {
    let before = match tag {
        b'B' => split_text(body)?.0.len() + 1,
        b'D' | b'C' if body.first() == Some(&b'S') => 1,
        _ => return None,
    };
    let (before, rest) = body.split_at(before);
    let (name, after) = split_text(rest)?;
    let id = conversation.statements.known(name)?;
    Some(NamedMessage { before, after, id })
}

/// A message that names a statement by the client's name.
struct NamedMessage<'b> {
    before: &'b [u8],
    after: &'b [u8],
    id: StatementId,
}
