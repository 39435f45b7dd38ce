//! What passing requests leave behind in the session, and the reset that takes it away.

use crate::conversation::Conversation;
use crate::conversation::exchange::Exchange;
use crate::conversation::inbox::Frame;
use crate::protocol::message::{put, split_text};
use crate::request::Request;
use crate::rules::Rules;
use crate::sql::residue::Residue;
use crate::sql::statement_timeout::sets_timeout;

/// Notes what the request that is sent now may leave behind.
pub(super) fn leaves(conversation: &mut Conversation, residue: Residue) {
    if residue == Residue::Nothing {
        return;
    }
    if conversation.observed.residue() == Residue::Nothing {
        conversation.dirty_since = conversation.statements.clock();
    }
    conversation.observed.left_behind(residue);
}

/// The same for a request of any shape. A statement that it prepares counts when it is bound.
pub(super) fn frames_leave(conversation: &mut Conversation, inbox: &[u8], frames: &[Frame]) {
    for frame in frames {
        let body = frame.body(inbox);
        match frame.tag {
            b'P' => {
                let Some((name, rest)) = split_text(body) else {
                    continue;
                };
                if sets_timeout(rest) {
                    conversation.observed.note_own_timeout(rest);
                }
                match split_text(rest).map_or(Residue::Undoable, |(sql, _)| {
                    Residue::of(conversation.sql(sql))
                }) {
                    Residue::Nothing => conversation.unkept.remove(name),
                    residue => conversation.unkept.insert(name.into(), residue),
                };
            }
            b'B' => {
                let name = split_text(body).and_then(|(_portal, rest)| split_text(rest));
                let residue = name.map_or(Residue::Undoable, |(name, _)| {
                    residue_of(conversation, name)
                });
                leaves(conversation, residue);
            }
            b'C' => {
                if let Some((name, _)) = body.strip_prefix(b"S").and_then(split_text) {
                    conversation.unkept.remove(name);
                }
            }
            b'Q' => {
                if sets_timeout(body) {
                    conversation.observed.note_own_timeout(body);
                }
                let text = body.strip_suffix(b"\0").unwrap_or(body);
                leaves(conversation, Residue::of(conversation.sql(text)));
            }
            // A function that is called by its number.
            b'F' => leaves(conversation, Residue::Undoable),
            _ => {}
        }
    }
}

fn residue_of(conversation: &Conversation, name: &[u8]) -> Residue {
    let record = conversation
        .statements
        .known(name)
        .and_then(|id| conversation.statements.get(id));
    match record {
        Some(record) => record.traits.residue,
        None => conversation.unkept.get(name).copied().unwrap_or_default(),
    }
}

/// Sends the text with which the pool resets the session. It counts as nobody's statement. Returns
/// `false` if the query is not that text.
pub(super) fn send_reset(conversation: &mut Conversation, rules: &Rules, sql: &[u8]) -> bool {
    let reset = rules.reset.as_deref().map(str::as_bytes);
    if reset != Some(sql) || conversation.status != b'I' || !conversation.is_settled() {
        return false;
    }
    let mut exchange = Exchange::new(Request::Work);
    exchange.resets = true;
    put(conversation.to_server.end(), b'Q', &[sql, b"\0"]);
    conversation.expect_answer(exchange);
    true
}

/// Names now resolve again as they did before a statement left something behind. So the wire
/// forgets only the descriptions from after that time.
pub(super) fn session_was_reset(conversation: &mut Conversation) {
    if conversation.observed.residue() > Residue::Nothing {
        conversation
            .statements
            .forget_since(conversation.dirty_since);
    }
    conversation.observed.session_is_clean();
}
