//! What a client announces instead of sending it; see [`UnsentBegin`](crate::unsent_begin::UnsentBegin).

use super::Observed;
use crate::rules::Rules;
use crate::sql::statement_timeout::sets_timeout;
use crate::sql::tokens::Sql;
use crate::sql::transactions::Opening;
use crate::transaction_status::TransactionStatus;
use crate::unsent_begin::Announced;

impl Observed {
    /// Begins a transaction as if the client had sent this BEGIN and the wire had answered it. The client must not
    /// have another request under way.
    ///
    /// Returns `false` if the wire would not hold this BEGIN back. Then the client must send it.
    pub fn begin_with_next(&self, rules: &Rules, sql: &str) -> bool {
        if !rules.holds_begin() || self.transaction_status() != TransactionStatus::Idle {
            return false;
        }
        let text = Sql {
            text: sql.as_bytes(),
            conforming: true,
        };
        let Some(opening) = Opening::parse(text) else {
            return false;
        };
        if sets_timeout(text.text) {
            self.note_own_timeout(text.text);
        }
        self.unsent_begin.announce(opening);
        true
    }

    /// Ends a transaction whose BEGIN was never sent: nothing has run in it, or only queries that ran before BEGIN. The
    /// client must have the answers to all its requests.
    ///
    /// Returns `false` if the server knows the transaction, or if it has failed. Then the client must end it.
    pub fn end_unbegun(&self) -> bool {
        self.unsent_begin.end(|| !self.is_waiting())
    }

    /// Takes out what the client has announced. From now on the wire itself tells the status.
    pub(crate) fn take_announced(&self) -> Option<Announced> {
        let announced = self.unsent_begin.heard()?;
        // A reader that finds nothing announced must find this status.
        self.answered_locally(match announced {
            Announced::Begins(_) => b'T',
            Announced::Ends => b'I',
        });
        self.unsent_begin.forget();
        Some(announced)
    }

    /// Notes whether the wire holds the client's BEGIN back.
    pub(crate) fn begin_is_held(&self, held: bool) {
        self.unsent_begin.hold(held);
    }
}
