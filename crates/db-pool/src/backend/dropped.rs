//! The end of a backend: the pool counts and reports it, and a separate task closes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::backend::Backend;
use crate::backend::close_reason::{CloseReason, ClosedBackend};
use crate::backend::closing::{CLOSE_TIMEOUT, Closing};
use crate::totals::Totals;

impl Drop for Backend {
    fn drop(&mut self) {
        if self.conn.is_none() {
            // It was detached.
            return;
        }
        // It has a reason, unless the pool is gone, and its store with it.
        let reason = self.close_reason.unwrap_or(CloseReason::PoolClosed);
        if let Some(reservation) = &mut self.reservation {
            reservation.slot.leave();
        }
        let totals = &self.registry.totals;
        totals.count_closed(reason);
        if matches!(reason, CloseReason::Lost | CloseReason::Silent) || self.observed.is_closed() {
            Totals::count(&totals.lost);
        }
        reason.report(&ClosedBackend {
            pool: &self.registry.name,
            call_site: self.live.call_site(),
            backend_pid: self.observed.backend_pid(),
            generation: self.member().map_or(0, |member| member.generation().number),
            age_ms: self.born.elapsed().as_millis() as u64,
            uses: self.uses,
        });
        let closing = Closing {
            conn: self.conn.take(),
            hand_back: self.hand_back.take(),
            patience: match reason {
                // The connection has already ended, or the server is silent and would not answer a
                // cancel request either.
                CloseReason::Lost => Duration::ZERO,
                CloseReason::Silent => CLOSE_TIMEOUT / 10,
                _ => CLOSE_TIMEOUT,
            },
            live: Arc::clone(&self.live),
            reservation: self.reservation.take(),
            _ping: self.ping.take(),
            registry: Arc::clone(&self.registry),
        };
        self.registry.being_closed.fetch_add(1, Ordering::AcqRel);
        self.registry.spawn(closing.run());
    }
}
