//! COMMIT with the last statement of a transaction.

use crate::conversation::Conversation;
use crate::conversation::client_transaction::ClientTransaction;
use crate::conversation::exchange::Exchange;
use crate::request::Request;
use crate::sql::traits::Traits;

/// Puts COMMIT after a statement, in the same request. The server skips it if the statement fails.
///
/// It does so only in the client's own transaction block. A statement that runs before the BEGIN of its transaction is
/// in none.
pub(super) fn commit_behind(conversation: &Conversation, exchange: &mut Exchange, traits: Traits) {
    if conversation.is_in_transaction() && !exchange.reads_alone && traits.may_be_last {
        exchange.commits = true;
        exchange.request = Request::Commit;
    }
}

/// Applies the end of such a request to the transaction. Returns `false` if the statement failed: the server then
/// handles the transaction as usual.
pub(super) fn commit_is_over(conversation: &mut Conversation, exchange: &Exchange) -> bool {
    if exchange.committed {
        conversation.observed.commit_came_early();
        conversation.transaction = ClientTransaction::Committed { refused: false };
        return true;
    }
    // The server has refused the COMMIT itself, for example because of a deferred constraint, and has rolled back.
    let refused = conversation.status == b'I' && !exchange.begin_failed;
    if refused {
        conversation.transaction = ClientTransaction::Broken { begun: false };
    }
    refused
}
