//! COMMIT with the last statement of a transaction.

use crate::conversation::Conversation;
use crate::conversation::client_transaction::ClientTransaction;
use crate::conversation::exchange::Exchange;
use crate::request::Request;
use crate::sql::traits::Traits;

/// Puts COMMIT behind a statement, in the same request: the server skips it if the statement fails.
///
/// Only in a transaction block of the client's own. A statement that runs before the BEGIN of its transaction has none.
pub(super) fn commit_behind(conversation: &Conversation, exchange: &mut Exchange, traits: Traits) {
    if conversation.is_in_transaction() && !exchange.reads_alone && traits.may_be_last {
        exchange.commits = true;
        exchange.request = Request::Commit;
    }
}

/// What the end of such a request means for the transaction; `false` where the statement failed, so that the
/// transaction is the server's as ever.
pub(super) fn commit_is_over(conversation: &mut Conversation, exchange: &Exchange) -> bool {
    if exchange.committed {
        conversation.observed.commit_came_early();
        conversation.transaction = ClientTransaction::Committed { refused: false };
        return true;
    }
    // COMMIT itself was refused, as for a deferred constraint, and the server has rolled back.
    let refused = conversation.status == b'I' && !exchange.begin_failed;
    if refused {
        conversation.transaction = ClientTransaction::Broken { begun: false };
    }
    refused
}
