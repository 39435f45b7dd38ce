//! The end of a connection while something of its client's is unanswered.

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::exchange::{Exchange, Expect};
use crate::observed::Request;
use crate::protocol::frame::{Fate, Reading};
use crate::protocol::message::put_last_words;
use crate::server_error::{OUTCOME_UNKNOWN, ServerError};

impl Conversation {
    /// The server says no more. A client whose COMMIT, or whose statement outside a transaction, may have
    /// taken effect is told so in the server's place (08007): the end of the stream alone would look to it
    /// like that of a statement that was rolled back.
    pub(crate) fn connection_lost(&mut self) {
        let first_time = !self.observed.is_closed();
        let unanswered = self.plan.iter().find(|expected| !expected.is_silent());
        if let Some(Expect::Remote(exchange)) = unanswered
            && first_time
            && self.may_have_taken_effect(exchange)
            && self.is_between_messages()
        {
            let code = &SqlState::TRANSACTION_RESOLUTION_UNKNOWN;
            let fields = put_last_words(self.to_client.end(), code, OUTCOME_UNKNOWN);
            let error = ServerError::from_fields(&fields);
            self.observed.error_reported(error);
        }
        self.observed.connection_closed();
    }

    fn may_have_taken_effect(&self, exchange: &Exchange) -> bool {
        let alone = self.status == b'I' && !exchange.begins;
        // The migrator's session, which has no rules, asks the server itself what is there.
        let pooled = self.steering.rules().is_some();
        pooled
            && !exchange.failed
            && match exchange.request {
                Request::Commit => true,
                Request::Work => alone && !exchange.only_reads,
                Request::Housekeeping => false,
            }
    }

    /// Whether an answer of ours would not land inside one of the server's.
    fn is_between_messages(&self) -> bool {
        let passing = matches!(
            self.reading,
            Reading::Body {
                fate: Fate::Pass,
                ..
            }
        );
        !passing
    }
}
