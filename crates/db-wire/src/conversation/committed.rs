//! What a client may still send in a transaction that was committed with its last statement.

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::client_transaction::ClientTransaction;
use crate::conversation::extended::send_close;
use crate::conversation::inbox::Frame;
use crate::protocol::message::EMPTY_QUERY;
use crate::sql::statements::is_blank;
use crate::sql::tokens::{Sql, Tokens};
use crate::sql::transactions::End;

/// Answers a simple query. COMMIT, RELEASE and an empty text succeed; the wire refuses everything else.
pub(super) fn answer_query_in_committed(conversation: &mut Conversation, sql: Sql<'_>) {
    match End::parse(sql) {
        Some(End::Commit) => {
            conversation.transaction = ClientTransaction::Plain;
            conversation.answer_complete(b"COMMIT", None);
        }
        Some(End::Rollback) => {
            conversation.transaction = ClientTransaction::Plain;
            conversation.answer_error(&SqlState::INVALID_TRANSACTION_TERMINATION, COMMITTED);
        }
        None if is_blank(sql) => conversation.answer(EMPTY_QUERY, None),
        None if Tokens::of(sql).eat(b"RELEASE") => conversation.answer_complete(b"RELEASE", None),
        None => refuse(conversation),
    }
}

/// Answers a request of the extended protocol: the client may close a name, but may run nothing.
pub(super) fn answer_in_committed(conversation: &mut Conversation, inbox: &[u8], frames: &[Frame]) {
    match frames {
        [close, _sync] if close.tag == b'C' => send_close(conversation, inbox, frames),
        [sync] if sync.tag == b'S' => conversation.answer(b"", None),
        _ => refuse(conversation),
    }
}

fn refuse(conversation: &mut Conversation) {
    conversation.transaction = ClientTransaction::Committed { refused: true };
    conversation.answer_error(&SqlState::INVALID_TRANSACTION_STATE, COMMITTED);
}

const COMMITTED: &str = "the transaction is already committed: `and_commit` said that the statement before was its last; \
     nothing may follow it, and it cannot be rolled back";
