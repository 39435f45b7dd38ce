//! The end of a connection while something of its client's is unanswered.

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::exchange::Exchange;
use crate::protocol::message::put_fatal;
use crate::request::Request;
use crate::server_error::{OUTCOME_UNKNOWN, ServerError};

/// The server says no more. A client whose COMMIT, or whose statement outside a transaction, may have
/// taken effect is told so in the server's place: the end of the stream alone would look to it like a
/// statement that was rolled back.
pub(crate) fn connection_lost(conversation: &mut Conversation) {
    end(conversation, None);
}

/// The pool gives the server up. A client that waits for an answer is told why, in the server's place.
pub(crate) fn connection_cut(conversation: &mut Conversation, why: &str) {
    end(conversation, Some(why));
}

fn end(conversation: &mut Conversation, why: Option<&str>) {
    let first_time = !conversation.observed.is_closed();
    let mut pending = std::mem::take(&mut conversation.pending);
    // An answer of ours must not land inside one of the server's.
    if let Some(exchange) = pending.told_next_mut()
        && first_time
        && (!exchange.failed || exchange.unproven.is_some())
        && !conversation.is_amid_message()
    {
        if may_have_taken_effect(conversation, exchange) {
            tell_unknown(conversation, exchange, why);
        } else if let Some(why) = why {
            tell_fatal(conversation, &SqlState::CONNECTION_FAILURE, why);
        }
    }
    conversation.pending = pending;
    conversation.observed.connection_closed();
}

/// Whether the server may have kept what was asked, although nothing of it was answered.
pub(super) fn may_have_taken_effect(conversation: &Conversation, exchange: &Exchange) -> bool {
    let alone = conversation.status == b'I' && !exchange.begins;
    // The migrator's session, which has no rules, asks the server itself what is there.
    let pooled = conversation.steering.rules().is_some();
    pooled
        && match exchange.request {
            Request::Commit => true,
            Request::Work => alone && !exchange.only_reads,
            Request::Housekeeping => false,
        }
}

/// Whether an error leaves open what became of the request. PostgreSQL's own says that it was undone, but for a
/// COMMIT only once ReadyForQuery follows; a pooler's may say no more than that it has lost the server.
pub(super) fn proves_nothing(exchange: &Exchange, error: &ServerError) -> bool {
    match exchange.request {
        Request::Commit => !error.is_for_idleness(),
        _ => error.is_poolers() && !error.is_from_before_any_server(),
    }
}

/// Tells the client that nobody knows what became of its request (08007), with the last words on it.
pub(super) fn tell_unknown(
    conversation: &mut Conversation,
    exchange: &mut Exchange,
    why: Option<&str>,
) {
    let last_words = exchange.unproven.take();
    let last_words = last_words.map(|words| ServerError::from_fields(&words));
    let message = match (last_words, why) {
        (Some(words), _) => format!("{OUTCOME_UNKNOWN}; last words: {}", words.message()),
        (None, Some(why)) => format!("{OUTCOME_UNKNOWN}: {why}"),
        (None, None) => OUTCOME_UNKNOWN.to_owned(),
    };
    tell_fatal(
        conversation,
        &SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        &message,
    );
}

fn tell_fatal(conversation: &mut Conversation, code: &SqlState, message: &str) {
    let fields = put_fatal(conversation.to_client.end(), code, message);
    let error = ServerError::from_fields(&fields);
    conversation.observed.error_reported(error);
}
