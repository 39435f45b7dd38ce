//! A checked-out connection.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio::time::{Instant, timeout};

use crate::backend::Backend;
use crate::backend::close_reason::CloseReason;
use crate::backend::live_backend::LiveBackend;
use crate::backend::store::Stored;
use crate::backend::verdict::Verdict;
use crate::checkout::queued::Queued;
use crate::connect::cancel_token::CancelToken;
use crate::queue::gate::Permit;
use crate::registry::Settling;
use crate::shared::Shared;
use db_wire::Observed;

/// A connection of a pool. It goes back to the pool when it is dropped.
///
/// It dereferences to `AsyncPgConnection`. When it comes back, the pool keeps it only if the server says that no
/// transaction is open, nothing is in flight, and its credentials are still the current ones. Otherwise the pool
/// cancels its statement and closes it in the background. If a holder has exchanged it for another connection with
/// `mem::swap`, the pool closes both. Dropping it never blocks and needs no runtime.
#[must_use = "a connection goes back to its pool when it is dropped"]
pub struct Connection {
    /// Taken only when the connection is dropped or detached.
    held: Option<Held>,
}

struct Held {
    backend: Stored,
    permit: Permit,
    shared: Arc<Shared>,
}

impl Connection {
    pub(crate) fn new(
        mut backend: Stored,
        permit: Permit,
        shared: Arc<Shared>,
        caller: &'static std::panic::Location<'static>,
        queued: &Queued,
        now: Instant,
    ) -> Self {
        let waited = queued.waited(now);
        backend.check_out(caller, waited, now);
        shared.registry.connection_handed_out(waited);
        let held = Some(Held {
            backend,
            permit,
            shared,
        });
        Self { held }
    }

    /// Closes the connection instead of returning it.
    pub fn discard(mut self) {
        if let Some(held) = &mut self.held {
            held.backend.mark_for_closing(CloseReason::Discarded);
        }
    }

    /// The process id that the server, or the pooler in its place, gave at connect.
    #[must_use]
    pub fn backend_pid(&self) -> i32 {
        self.observed().backend_pid()
    }

    /// A token that other code can use to cancel what this connection is doing.
    ///
    /// Use it instead of `AsyncPgConnection::cancel_token`, whose token works only over TLS.
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        CancelToken::new(self.backend().live().canceller().clone())
    }

    pub(crate) fn observed(&self) -> &Arc<Observed> {
        self.backend().observed()
    }

    pub(crate) fn live(&self) -> &Arc<LiveBackend> {
        self.backend().live()
    }

    pub(crate) fn is_unfinished(&self) -> bool {
        self.backend().is_unfinished()
    }

    /// Resolves when the holder should give the connection back: its credentials have been replaced, or the pool
    /// closes.
    ///
    /// This is for a caller that holds a connection for long. The future does not borrow the connection, and may be
    /// dropped at any time. A holder that does not wait for it keeps its connection.
    pub fn retired(&self) -> impl Future<Output = ()> + Send + use<> {
        let closing = self.shared().registry.closing.clone().cancelled_owned();
        let retired = self
            .backend()
            .member()
            .map(|member| member.generation().retired());
        async move {
            let Some(retired) = retired else { return };
            tokio::select! {
                () = closing => {}
                () = retired => {}
            }
        }
    }

    /// Takes the connection out of its pool for good. Its place in the pool is free at once.
    ///
    /// From here on only the caller is responsible for it. A rotation does not wait for it, and closing the pool
    /// does not end it. Dropping it closes the socket without cancelling its statement. The server may thus have
    /// one more connection than `max` for each detached one. The session keeps the settings of the pool.
    #[expect(clippy::expect_used, reason = "taken here and in `drop` alone")]
    pub fn detach(mut self) -> AsyncPgConnection {
        let held = self.held.take().expect("held until the drop");
        let Held {
            mut backend,
            permit,
            shared,
        } = held;
        let held_for = backend.held_for(Instant::now());
        shared.registry.connection_returned(held_for);
        tracing::debug!(
            target: "app_db::pool",
            pool = &*shared.registry.name,
            call_site = backend.live().call_site().map(tracing::field::display),
            backend_pid = backend.observed().backend_pid(),
            "a connection is detached"
        );
        let conn = backend.detach();
        // The store forgets it.
        drop(backend);
        drop(permit);
        shared.wake_keeper();
        conn
    }

    /// The number of the generation of credentials it was made with.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.backend()
            .member()
            .map_or(0, |member| member.generation().number)
    }

    fn backend(&self) -> &Backend {
        &self.held().backend
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.held().shared
    }

    #[expect(clippy::expect_used, reason = "taken in `drop` and `detach` alone")]
    fn held(&self) -> &Held {
        self.held.as_ref().expect("held until the drop")
    }
}

impl Deref for Connection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        self.backend().conn()
    }
}

impl DerefMut for Connection {
    #[expect(clippy::expect_used, reason = "taken in `drop` and `detach` alone")]
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        let held = self.held.as_mut().expect("held until the drop");
        held.backend.conn_mut()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("backend_pid", &self.backend_pid())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else {
            return;
        };
        let now = Instant::now();
        let held_for = held.backend.held_for(now);
        held.shared.registry.connection_returned(held_for);
        match held.backend.check_in(now) {
            Verdict::Keep => held.give_back(),
            Verdict::Discard(reason) => held.throw_away(reason),
            Verdict::Settle => {
                // Nobody may use the connection before it has settled, so the backend is closed if this task is
                // dropped.
                held.backend.mark_for_closing(CloseReason::Busy);
                let registry = Arc::clone(&held.shared.registry);
                let settling = Settling::new(&registry);
                registry.spawn(async move {
                    let _settling = settling;
                    held.settle().await;
                });
            }
            Verdict::Reset => {
                let registry = Arc::clone(&held.shared.registry);
                let settling = Settling::new(&registry);
                registry.spawn(async move {
                    let _settling = settling;
                    held.reset().await;
                });
            }
        }
    }
}

impl Held {
    fn give_back(mut self) {
        if self.backend.leave_if_surplus() {
            return self.throw_away(CloseReason::Surplus);
        }
        if self.shared.has_idle_enough() {
            return self.throw_away(CloseReason::Spare);
        }
        // In this order, so that a caller that is woken, or passes the gate, finds the backend in the store.
        self.shared.store.put_back(self.backend);
        self.shared.registry.changes.tell_listeners();
        if self.shared.registry.is_closed() {
            // The pool may have closed its idle backends before this one came back.
            self.shared.sweep();
        }
        drop(self.permit);
    }

    fn throw_away(mut self, reason: CloseReason) {
        self.backend.mark_for_closing(reason);
        // The gate lets no other caller through for it until the server has closed it.
        self.backend.keep_until_closed(self.permit);
        drop(self.backend);
        self.shared.wake_keeper();
    }

    /// Waits for the rest of an answer. The holder needed only the beginning, as with `first()` on many rows. The
    /// rest is on its way, so closing the connection would be a waste.
    async fn settle(mut self) {
        let _in_time = timeout(SETTLE, self.backend.observed().settled()).await;
        self.backend.unmark();
        match self.backend.check_in(Instant::now()) {
            Verdict::Keep => self.give_back(),
            Verdict::Discard(reason) => self.throw_away(reason),
            Verdict::Settle => self.throw_away(CloseReason::Busy),
            Verdict::Reset => self.reset().await,
        }
    }

    /// Removes what the holder left in the session, so that the next holder finds the configured state.
    async fn reset(mut self) {
        // Nobody may use the connection before the reset is done, so the backend is closed if this task is dropped.
        self.backend.mark_for_closing(CloseReason::Altered);
        let registry = Arc::clone(&self.shared.registry);
        let is_clean = tokio::select! {
            biased;
            () = registry.closing.cancelled() => true,
            is_clean = self.backend.reset() => is_clean,
        };
        if is_clean {
            self.backend.unmark();
        }
        match self.backend.judge(Instant::now()) {
            Verdict::Keep => self.give_back(),
            Verdict::Discard(reason) => self.throw_away(reason),
            Verdict::Settle | Verdict::Reset => self.throw_away(CloseReason::Busy),
        }
    }
}

/// How long the rest of an answer may take.
const SETTLE: Duration = Duration::from_millis(250);
