//! Connecting in the background, on behalf of a caller or of the keeper.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::backend::reservation::Reservation;
use crate::checkout::turn::PendingConnection;
use crate::connect::backoff::{ConnectAttempt, NotNow, Urge};
use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::logins::LoginPermit;
use crate::shared::Shared;
use crate::totals::Totals;

/// Starts to connect, if there is room for one more connection and an attempt may begin now.
///
/// The receiver gets the failure; it is closed without one when the connection has been stored.
pub(crate) fn dial_in_background(
    shared: &Arc<Shared>,
    urge: Urge,
) -> Result<oneshot::Receiver<ConnectError>, NotNow> {
    let lost = shared.registry.totals.lost.load(Ordering::Relaxed);
    shared.backoff.lost(lost);
    let logins = shared.registry.logins.as_ref();
    let (attempt, (slot, permit)) = shared.backoff.begin(urge, || {
        // In this order, because the return of a permit wakes others, and the return of a slot does
        // not.
        let slot = match urge {
            Urge::Drain => shared.slots.take_lent()?,
            Urge::Caller | Urge::Keeper => shared.slots.take()?,
        };
        Some((slot, LoginPermit::take(logins)?))
    })?;
    let reservation = Reservation::new(slot, shared.registry.generations.join());
    let coming = PendingConnection::new(&shared.registry);
    let (report, reported) = oneshot::channel();
    shared.registry.spawn(
        Dial {
            shared: Arc::clone(shared),
            attempt,
            permit,
            reservation,
            coming,
            report,
        }
        .run(),
    );
    Ok(reported)
}

/// Makes one connection and stores it, in a task of its own.
struct Dial {
    shared: Arc<Shared>,
    attempt: ConnectAttempt,
    permit: LoginPermit,
    reservation: Reservation,
    coming: PendingConnection,
    report: oneshot::Sender<ConnectError>,
}

impl Dial {
    async fn run(self) {
        let Self {
            shared,
            attempt,
            mut permit,
            mut reservation,
            // It is held until the end, so that a caller that it wakes finds the backend in the store,
            // or the place free.
            coming: _coming,
            report,
        } = self;
        let closing = shared.registry.closing.clone();
        if closing.run_until_cancelled(permit.ready()).await.is_none() {
            return;
        }
        let generations = &shared.registry.generations;
        if !generations.is_current(&reservation.member) {
            // The owner has renewed the credentials meanwhile.
            reservation.member = generations.join();
        }
        let generation = reservation.member.generation();
        // A panic while connecting must not cost the pool this place for ever.
        let dialling = std::panic::AssertUnwindSafe(shared.dialler.dial(generation)).catch_unwind();
        let dialled = dialling.await.unwrap_or_else(|_panic| {
            Err(ConnectError::new(
                &generation.endpoint.address(),
                ConnectFailure::Panicked,
            ))
        });
        match dialled {
            Ok(dialled) => {
                Totals::count(&shared.registry.totals.opened);
                shared.registry.logged_in(true);
                let registry = Arc::clone(&shared.registry);
                let backend = Backend::new(dialled, reservation, &shared.profile, registry);
                shared.registry.enlist(backend.live());
                park(&shared, backend, attempt);
            }
            Err(error) => {
                Totals::count(&shared.registry.totals.connect_failures);
                if error.failure() == ConnectFailure::TooManyConnections {
                    Totals::count(&shared.registry.totals.too_many_connections);
                }
                tracing::warn!(target: "app_db::pool", pool = &*shared.registry.name, %error, "connecting failed");
                // In this order, so that a caller that hears of the failure finds the place free and
                // the delay set. A failure with credentials that have been replaced meanwhile says
                // nothing about the new ones, so its caller tries again.
                let replaced = !shared.registry.generations.is_current(&reservation.member);
                drop(reservation);
                if replaced {
                    drop(attempt);
                } else {
                    shared.registry.logged_in(false);
                    attempt.failed(error.clone());
                    // This comes before the caller hears of the failure, so that it waits for the
                    // owner's result.
                    permit.failed(&error);
                    drop(permit);
                    let _unheard = report.send(error);
                }
                shared.registry.changes.tell();
            }
        }
    }
}

/// Puts a new backend among the idle ones, unless a rotation or the closing of the pool has overtaken
/// it.
fn park(shared: &Shared, mut backend: Backend, attempt: ConnectAttempt) {
    if let Some(reason) = backend.overdue(Instant::now()) {
        backend.mark_for_closing(reason);
    }
    shared.store.add(backend);
    // The attempt ends only after the backend is stored: otherwise a caller that passes now would dial
    // although a connection is there.
    attempt.succeeded();
    shared.registry.changes.tell();
    if shared.registry.is_closed() {
        shared.sweep();
    }
    if shared.registry.established() < shared.min_idle() {
        shared.wake_keeper();
    }
}
