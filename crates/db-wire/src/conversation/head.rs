//! What the wire puts before the client's statement.

use crate::conversation::Conversation;
use crate::conversation::exchange::{Exchange, Part};
use crate::protocol::message::{put_close, put_statement};
use crate::request::Request;
use crate::rules::Rules;

/// What the wire puts before the client's own statement: names to close, BEGIN, settings.
pub(super) fn put_head(
    conversation: &mut Conversation,
    rules: &Rules,
    exchange: &mut Exchange,
    alone: bool,
) {
    let out = conversation.to_server.end();
    for name in conversation.statements.take_to_close() {
        put_close(out, &name);
        exchange.parts.push(Part::Close);
    }
    let opening = match exchange.reads_alone {
        true => None,
        false => conversation.transaction.send_begin(rules),
    };
    let begins = opening.is_some();
    if let Some(opening) = &opening {
        put_statement(out, &opening.sql);
        exchange.parts.push(Part::Statement { is_begin: true });
        exchange.begins = true;
        if exchange.request == Request::Housekeeping {
            exchange.request = Request::Work;
        }
    }
    let settings: &[Vec<u8>] = match &rules.local_settings {
        Some(settings) if begins => settings.in_transaction(),
        // The statement may be a BEGIN, and SET TRANSACTION may follow it, so nothing before it may take a
        // snapshot.
        Some(settings) if conversation.status == b'I' && !alone && exchange.controls => {
            settings.before_begin()
        }
        Some(settings) if conversation.status == b'I' && !alone => settings.before_extended(),
        _ => &[],
    };
    let outside = conversation.status == b'I' && !begins;
    conversation
        .observed
        .note_unbounded(outside && rules.local_settings.is_some());
    for statement in settings {
        put_statement(out, statement);
        exchange.parts.push(Part::Statement { is_begin: false });
    }
    // These come after the pool's settings, which they override.
    for setting in opening.iter().flat_map(|opening| &opening.settings) {
        put_statement(out, setting);
        exchange.parts.push(Part::Statement { is_begin: false });
    }
}
