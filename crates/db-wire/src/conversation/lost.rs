//! The end of a connection while something of its client's is unanswered.

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::exchange::Exchange;
use crate::protocol::message::put_fatal;
use crate::request::Request;
use crate::server_error::{OUTCOME_UNKNOWN, ServerError};

/// The server says no more. A client whose COMMIT, or whose statement outside a transaction, may have
/// taken effect is told so in the server's place (08007): the end of the stream alone would look to it
/// like a statement that was rolled back.
pub(crate) fn connection_lost(conversation: &mut Conversation) {
    let first_time = !conversation.observed.is_closed();
    // An answer of ours must not land inside one of the server's.
    if let Some(exchange) = conversation.pending.told_next()
        && first_time
        && may_have_taken_effect(conversation, exchange)
        && !conversation.is_amid_message()
    {
        let code = &SqlState::TRANSACTION_RESOLUTION_UNKNOWN;
        let fields = put_fatal(conversation.to_client.end(), code, OUTCOME_UNKNOWN);
        let error = ServerError::from_fields(&fields);
        conversation.observed.error_reported(error);
    }
    conversation.observed.connection_closed();
}

fn may_have_taken_effect(conversation: &Conversation, exchange: &Exchange) -> bool {
    let alone = conversation.status == b'I' && !exchange.begins;
    // The migrator's session, which has no rules, asks the server itself what is there.
    let pooled = conversation.steering.rules().is_some();
    pooled
        && !exchange.failed
        && match exchange.request {
            Request::Commit => true,
            Request::Work => alone && !exchange.only_reads,
            Request::Housekeeping => false,
        }
}
