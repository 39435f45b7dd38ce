//! The end of a connection while a request of its client is unanswered.

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::exchange::Exchange;
use crate::protocol::message::put_fatal;
use crate::request::Request;
use crate::server_error::{OUTCOME_UNKNOWN, ServerError};

/// The server will send nothing more. A COMMIT, or a statement outside a transaction, may have taken effect. The wire
/// tells its client so in the server's place. A client that sees only the end of the stream would believe that the
/// server has rolled back.
pub(crate) fn connection_lost(conversation: &mut Conversation) {
    end(conversation, None);
}

/// The pool gives up on the server. The wire tells a client that waits for an answer why, in the server's
/// place.
pub(crate) fn connection_cut(conversation: &mut Conversation, why: &str) {
    end(conversation, Some(why));
}

fn end(conversation: &mut Conversation, why: Option<&str>) {
    let first_time = !conversation.observed.is_closed();
    let mut pending = std::mem::take(&mut conversation.pending);
    // Our answer must not land inside one of the server's.
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

/// Whether the server may have done what was asked, although it has answered nothing.
pub(super) fn may_have_taken_effect(conversation: &Conversation, exchange: &Exchange) -> bool {
    let alone = conversation.status == b'I' && !exchange.begins;
    // The migrator's session has no rules. It asks the server itself what has taken effect.
    let pooled = conversation.steering.rules().is_some();
    pooled
        && match exchange.request {
            Request::Commit => true,
            Request::Work => alone && !exchange.only_reads,
            Request::Housekeeping => false,
        }
}

/// Whether the outcome of the request stays unknown in spite of the error. An error from PostgreSQL itself says that
/// the request was undone; for a COMMIT it does so only once ReadyForQuery follows. An error from a pooler may only say
/// that the pooler has lost the server.
pub(super) fn proves_nothing(exchange: &Exchange, error: &ServerError) -> bool {
    match exchange.request {
        Request::Commit => !error.is_for_idleness(),
        _ => error.is_poolers() && !error.is_from_before_any_server(),
    }
}

/// Tells the client that the outcome of its request is unknown (08007), and adds the last error message.
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
