//! The client's requests: each one up to its Sync, and the function that handles it.

use crate::conversation::Conversation;
use crate::conversation::broken::answer_in_broken;
use crate::conversation::committed::answer_in_committed;
use crate::conversation::copying::Copying;
use crate::conversation::extended::{send_close, send_execute, send_prepare};
use crate::conversation::forward::{forward, pass};
use crate::conversation::inbox::Frame;
use crate::conversation::login::{answer_set_up, log_in};
use crate::conversation::pipeline::{continue_flushed, observe, other};
use crate::conversation::simple::simple;
use crate::conversation::startup::Phase;
use crate::prepared::statement_cache::StatementCache;
use crate::protocol::frame::BadLength;
use crate::protocol::message::{put, put_sync, split_text};
use crate::sql::reads::Reads;

/// Takes what the client writes.
pub(crate) fn client_sent(conversation: &mut Conversation, bytes: &[u8]) -> Result<(), BadLength> {
    if conversation.phase != Phase::Ready {
        log_in(conversation, bytes);
        return Ok(());
    }
    conversation.hear_announcement();
    if !conversation.inbox.is_empty() {
        conversation.inbox.keep(bytes);
        return take_requests(conversation);
    }
    // Most requests arrive whole, and are read in place.
    let handled = handle(conversation, bytes)?;
    conversation.inbox.keep(&bytes[handled..]);
    Ok(())
}

/// Handles each whole request in the inbox, unless it must wait for an answer.
pub(super) fn take_requests(conversation: &mut Conversation) -> Result<(), BadLength> {
    let bytes = conversation.inbox.take();
    let handled = handle(conversation, &bytes)?;
    conversation.inbox.put_back(bytes, handled);
    Ok(())
}

/// Handles the requests in these bytes that are whole and need not wait. Returns how many bytes it handled.
fn handle(conversation: &mut Conversation, bytes: &[u8]) -> Result<usize, BadLength> {
    let mut frames = conversation.inbox.take_frames();
    let mut handled = 0;
    while let Some(frame) = conversation.inbox.next(bytes)? {
        let copies = frames.is_empty() && conversation.copying.takes(frame.tag);
        if !copies && frames.is_empty() && frame.tag != b'X' {
            end_abandoned_copy(conversation);
        }
        if !copies && !conversation.flushed && conversation.pending.must_wait() {
            break;
        }
        let end = conversation.inbox.pass_by(frame);
        frames.push(frame);
        match frame.tag {
            _ if copies => {
                conversation.copying = conversation.copying.after(frame.tag);
                pass(conversation, bytes, &frames);
            }
            b'Q' | b'F' | b'S' if must_follow(conversation, bytes, &frames) => {
                conversation.inbox.go_back(handled);
                frames.clear();
                break;
            }
            b'Q' | b'F' | b'S' => {
                request(conversation, bytes, &frames);
                conversation.flushed = false;
            }
            b'H' => {
                if !flush(conversation, bytes, &frames) {
                    frames.pop();
                    continue;
                }
            }
            // Outside a COPY the server ignores the messages of a COPY.
            b'd' | b'c' | b'f' if conversation.is_broken() || conversation.is_committed() => {}
            b'X' | b'd' | b'c' | b'f' => pass(conversation, bytes, &frames),
            _ => continue,
        }
        frames.clear();
        handled = end;
    }
    conversation.inbox.put_frames_back(frames, handled);
    conversation.tell_whether_begin_is_held();
    Ok(handled)
}

/// Whether a request has to wait for queries that ran before the BEGIN of its transaction. If one of them fails,
/// everything after it must fail too.
fn must_follow(conversation: &Conversation, bytes: &[u8], frames: &[Frame]) -> bool {
    if !conversation.pending.has_lone_read() {
        return false;
    }
    let reads = match frames {
        [parse, _describe, _sync] if parse.tag == b'P' => split_text(parse.body(bytes))
            .map(|(_name, tail)| split_text(tail).map_or(tail, |(sql, _types)| sql))
            .map(|sql| Reads::of(conversation.sql(sql))),
        [bind, _execute, _sync] if bind.tag == b'B' => {
            let name = split_text(bind.body(bytes)).and_then(|(_portal, rest)| split_text(rest));
            let id = name.and_then(|(name, _)| conversation.statements.known(name));
            let record = id.and_then(|id| conversation.statements.get(id));
            record.map(|record| record.traits.reads)
        }
        [close, _sync] if close.tag == b'C' => Some(Reads::Alone),
        _ => None,
    };
    reads != Some(Reads::Alone)
}

/// During a COPY the server takes every message for rows, and answers no message. A client that sends other requests
/// without ending the rows, as diesel-async does, would wait for ever.
fn end_abandoned_copy(conversation: &mut Conversation) {
    let Copying::In { extended } = conversation.copying else {
        return;
    };
    conversation.copying = Copying::No;
    // A PgBouncer that has seen the end of a COPY believes that no other answer is due.
    if let Some(exchange) = conversation.pending.answered_mut() {
        exchange.controls = true;
    }
    let out = conversation.to_server.end();
    put(out, b'f', &[ABANDONED, b"\0"]);
    if extended {
        put_sync(out);
    }
}

fn request(conversation: &mut Conversation, inbox: &[u8], frames: &[Frame]) {
    if conversation.flushed {
        return continue_flushed(conversation, inbox, frames);
    }
    if answer_set_up(conversation, inbox, frames) {
        return;
    }
    let Some(rules) = conversation.steering.rules() else {
        return forward(conversation, inbox, frames);
    };
    let rules = &*rules;
    if rules.observes_only {
        return observe(conversation, rules, inbox, frames);
    }
    if !conversation
        .statements
        .is_for(rules.statement_cache, rules.naming, rules.shared_session)
        && conversation.is_settled()
    {
        conversation.statements =
            StatementCache::new(rules.statement_cache, rules.naming, rules.shared_session);
    }
    if let [query] = frames
        && query.tag == b'Q'
    {
        let body = query.body(inbox);
        return simple(
            conversation,
            rules,
            body.strip_suffix(b"\0").unwrap_or(body),
        );
    }
    if conversation.is_committed() {
        return answer_in_committed(conversation, inbox, frames);
    }
    if conversation.is_broken() && answer_in_broken(conversation, inbox, frames) {
        return;
    }
    match frames {
        [parse, describe, sync] if (parse.tag, describe.tag, sync.tag) == (b'P', b'D', b'S') => {
            send_prepare(conversation, rules, inbox, frames);
        }
        [bind, execute, sync] if (bind.tag, execute.tag, sync.tag) == (b'B', b'E', b'S') => {
            send_execute(conversation, rules, inbox, frames);
        }
        [close, sync] if (close.tag, sync.tag) == (b'C', b'S') => {
            send_close(conversation, inbox, frames);
        }
        _ => other(conversation, rules, inbox, frames),
    }
}

/// Sends what there is of the request, because a Flush makes the server answer before the Sync. Returns `false` if it
/// must not be sent.
fn flush(conversation: &mut Conversation, inbox: &[u8], frames: &[Frame]) -> bool {
    if conversation.is_broken() || conversation.is_committed() {
        return false;
    }
    if frames.len() == 1 {
        pass(conversation, inbox, frames);
    } else if conversation.flushed {
        continue_flushed(conversation, inbox, frames);
    } else {
        match conversation.steering.rules() {
            Some(rules) if rules.observes_only => observe(conversation, &rules, inbox, frames),
            Some(rules) => other(conversation, &rules, inbox, frames),
            None => forward(conversation, inbox, frames),
        }
        conversation.flushed = true;
    }
    true
}

const ABANDONED: &[u8] = b"the client went on without sending the rows";
