//! How a backend gives up its connection.

use std::sync::atomic::Ordering;

use diesel_async::AsyncPgConnection;

use crate::backend::close_reason::CloseReason;
use crate::backend::{Backend, long_hold};
use crate::totals::Totals;

impl Backend {
    /// Gives up its connection. From now on no count includes it.
    #[expect(clippy::expect_used, reason = "taken in `drop` and here alone")]
    pub(crate) fn detach(&mut self) -> AsyncPgConnection {
        // Without a connection, the store has nothing to keep.
        self.mark_for_closing(CloseReason::Discarded);
        if let Some(held) = self.live.returned() {
            long_hold::report_return(&self.registry.name, self.live.call_site(), held);
        }
        if let Some(hand_back) = &mut self.hand_back {
            hand_back.let_go();
        }
        Totals::count(&self.registry.totals.detached);
        self.registry.established.fetch_sub(1, Ordering::AcqRel);
        drop(self.reservation.take());
        self.registry.changes.tell();
        self.conn
            .take()
            .expect("the connection is there until the drop")
    }
}
