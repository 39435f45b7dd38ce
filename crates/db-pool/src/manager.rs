//! The bb8 side: how the store of idle backends tells good ones from bad ones.

use std::sync::{Mutex, PoisonError};

use bb8::{ManageConnection, PooledConnection, QueueStrategy};
use futures_util::FutureExt;

use crate::backend::Backend;

/// The store of idle backends.
pub(crate) struct Store {
    backends: bb8::Pool<Manager>,
    /// Held from the look to the taking: bb8 counts whoever finds it empty as a connection to come, and
    /// would refuse one of ours in its place.
    taking: Mutex<()>,
}

/// A backend that goes back into its store when it is dropped, unless it is doomed.
pub(crate) type Stored = PooledConnection<'static, Manager>;

/// bb8's view of backends: it stores them and neither makes nor ages them.
pub(crate) struct Manager;

/// bb8 asked for a connection of its own.
#[derive(Debug, thiserror::Error)]
#[error("the store makes no connections")]
pub(crate) struct NotMadeHere;

impl ManageConnection for Manager {
    // In a box: it is moved ten times from the store to its borrower and back.
    type Connection = Box<Backend>;
    type Error = NotMadeHere;

    // Never asked for: backends come from the pool, which counts them against its slots; bb8's own
    // count overshoots.
    async fn connect(&self) -> Result<Box<Backend>, NotMadeHere> {
        Err(NotMadeHere)
    }

    async fn is_valid(&self, _backend: &mut Box<Backend>) -> Result<(), NotMadeHere> {
        Ok(())
    }

    fn has_broken(&self, backend: &mut Box<Backend>) -> bool {
        backend.doomed().is_some()
    }
}

impl Store {
    /// An empty store for as many as `ceiling`, with everything off that the pool does itself; the latest
    /// returned is handed out first.
    pub(crate) fn new(ceiling: u32) -> Self {
        let backends = bb8::Pool::builder()
            .max_size(ceiling)
            .min_idle(None)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(false)
            .retry_connection(false)
            .queue_strategy(QueueStrategy::Lifo)
            .build_unchecked(Manager);
        Self {
            backends,
            taking: Mutex::default(),
        }
    }

    /// How many are idle.
    pub(crate) fn idle(&self) -> u32 {
        self.backends.state().idle_connections
    }

    /// The one that was returned last. bb8 makes a timer for it, which needs a runtime.
    pub(crate) fn take(&self) -> Option<Stored> {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if self.idle() == 0 {
            return None;
        }
        self.backends.get_owned().now_or_never()?.ok()
    }

    /// Puts a new one in.
    pub(crate) fn add(&self, backend: Backend) {
        // One that is doomed, or has no room, is ended by its drop.
        drop(self.backends.add(Box::new(backend)));
    }
}
