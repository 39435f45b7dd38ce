//! A panic while connecting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use app_db::Pool;
use db_pool::ConnectFailure;
use harness::TestDatabase;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use crate::at_rest::watched;
use crate::pool::{sized, url};

/// A subscriber that panics where a connection has just been made: other people's code, called inside
/// dialling.
struct Panicking {
    left: Arc<AtomicU32>,
}

impl Subscriber for Panicking {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "app_db::pool"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut connected = Connected(false);
        event.record(&mut connected);
        let spend = |left: u32| left.checked_sub(1);
        let left = &self.left;
        if connected.0
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend)
                .is_ok()
        {
            panic!("on purpose");
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Whether an event is the one that says so.
struct Connected(bool);

impl Visit for Connected {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 |= field.name() == "message" && format!("{value:?}") == "connected";
    }
}

/// case F7: it costs one attempt, and neither the pool's only place nor the right to try again.
#[tokio::test(flavor = "current_thread")]
async fn a_panic_while_connecting_costs_no_place() {
    let db = TestDatabase::empty().await.unwrap();
    let left = Arc::new(AtomicU32::new(3));
    let panicking = Panicking {
        left: Arc::clone(&left),
    };
    // Tasks of this test run on this very thread.
    let _subscribed = tracing::subscriber::set_default(panicking);
    let mut profile = sized(1);
    profile.reconnect.base_delay = Duration::from_millis(50);
    profile.checkout_timeout = Duration::from_millis(20);
    let pool = watched(&db, Pool::connect_lazy(url(&db.url()), profile.clone()));
    let mut said = false;
    for _ in 0..200 {
        // Not in time: what the panic hook writes takes longer than that.
        match Pool::get(&pool).await {
            Ok(conn) => {
                drop(conn);
                break;
            }
            Err(error) => {
                let cause = error.connect_error();
                said |= cause.is_some_and(|cause| cause.failure() == ConnectFailure::Panicked);
            }
        }
    }
    assert!(said, "a caller is told of the panic");
    assert_eq!(left.load(Ordering::SeqCst), 0);
    let status = pool.status();
    assert_eq!(
        (status.open, status.idle, status.connects.failed),
        (1, 1, 3)
    );
    pool.rests().await;
}
