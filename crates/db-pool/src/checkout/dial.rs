//! Connecting in the background, on behalf of a caller or of the keeper.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::backend::place::Place;
use crate::checkout::turn::Coming;
use crate::connect::backoff::{Attempt, NotNow, Urge};
use crate::connect::connect_error::{ConnectError, Failure};
use crate::shared::Shared;
use crate::status::Totals;

/// Begins to connect, if there is room for one more connection and an attempt may begin now.
///
/// The receiver gets the failure; it is closed without one when the connection has been stored.
pub(crate) fn dial_in_background(
    shared: &Arc<Shared>,
    urge: Urge,
) -> Result<oneshot::Receiver<ConnectError>, NotNow> {
    let (attempt, slot) = shared.backoff.begin(urge, || shared.slots.take())?;
    let place = Place::new(slot, shared.registry.generations.join());
    let coming = Coming::new(&shared.registry);
    let (report, reported) = oneshot::channel();
    shared.registry.spawn(
        Dial {
            shared: Arc::clone(shared),
            attempt,
            place,
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
    attempt: Attempt,
    place: Place,
    coming: Coming,
    report: oneshot::Sender<ConnectError>,
}

impl Dial {
    async fn run(self) {
        let Self {
            shared,
            attempt,
            place,
            // Until the end: whoever is woken by it finds the backend parked, or the place free.
            coming: _coming,
            report,
        } = self;
        let generation = place.member.generation();
        // A panic while connecting must not cost the pool its place for ever (failure case F7).
        let dialling = std::panic::AssertUnwindSafe(shared.dialler.dial(generation)).catch_unwind();
        let dialled = dialling.await.unwrap_or_else(|_panic| {
            Err(ConnectError::new(
                &generation.endpoint.address(),
                Failure::Panicked,
            ))
        });
        match dialled {
            Ok(dialled) => {
                Totals::count(&shared.registry.totals.opened);
                let registry = Arc::clone(&shared.registry);
                let backend = Backend::new(dialled, place, &shared.profile, registry);
                shared.registry.enlist(backend.lease());
                park(&shared, backend, attempt);
            }
            Err(error) => {
                Totals::count(&shared.registry.totals.connect_failures);
                tracing::warn!(target: "app_db::pool", pool = &*shared.registry.name, %error, "connecting failed");
                // In this order: whoever hears of the failure finds the place free again and the
                // delay set. What fails with credentials that have been replaced meanwhile says nothing
                // of the new ones: its caller tries again.
                let replaced = !shared.registry.generations.is_current(&place.member);
                drop(place);
                if replaced {
                    drop(attempt);
                } else {
                    attempt.failed(error.clone());
                    let _unheard = report.send(error);
                }
                shared.registry.changes.tell();
            }
        }
    }
}

/// Puts a new backend among the idle, unless it was overtaken by a rotation or by closing.
fn park(shared: &Shared, mut backend: Backend, attempt: Attempt) {
    if let Some(doom) = backend.overdue(Instant::now()) {
        backend.doom(doom);
    }
    shared.store.add(backend);
    // Not before it is stored: who is let through then would dial for what is there.
    attempt.succeeded();
    shared.registry.changes.tell();
    if shared.registry.is_closed() {
        shared.sweep();
    }
    if shared.registry.established() < shared.profile.min_idle {
        shared.wake_keeper();
    }
}
