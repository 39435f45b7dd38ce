//! The bb8 side: how the store of idle backends tells good ones from bad ones.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bb8::{ManageConnection, PooledConnection, QueueStrategy};
use futures_util::FutureExt;
use tokio::runtime::Handle;

use crate::backend::Backend;

/// The store of idle backends.
pub(crate) struct Store {
    /// The one that was returned last. Most often it is the next to go, and is spared the timer and the
    /// statistics of bb8, which take longer than all that we look at.
    ///
    /// Locked from the look to the taking: bb8 counts a caller that finds it empty as a connection to come, and
    /// would refuse one of ours in its place.
    last: Mutex<Option<Stored>>,
    backends: bb8::Pool<Manager>,
    /// For bb8's timers: the last handle of a pool may be dropped outside any runtime. There from the first backend
    /// on.
    runtime: OnceLock<Handle>,
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
    // In a box: it is moved ten times from the store to its holder and back.
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
        backend.close_reason().is_some()
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
            last: Mutex::default(),
            backends,
            runtime: OnceLock::new(),
        }
    }

    /// How many are idle.
    pub(crate) fn idle(&self) -> u32 {
        let last = self.lock();
        self.backends.state().idle_connections + u32::from(last.is_some())
    }

    /// The one that was returned last.
    pub(crate) fn take(&self) -> Option<Stored> {
        let mut last = self.lock();
        if last.is_some() {
            return last.take();
        }
        if self.backends.state().idle_connections == 0 {
            return None;
        }
        let _runtime = self.runtime.get().map(Handle::enter);
        self.backends.get_owned().now_or_never()?.ok()
    }

    /// Has all that are idle looked through, and takes out the ones that the look rejects.
    ///
    /// A caller that wants one meanwhile waits for the end of the look and misses none. The look must not drop any: that
    /// is for the code that is given them, as it runs a subscriber's code.
    pub(crate) fn sort_out(
        &self,
        look: impl FnOnce(&mut Vec<Stored>) -> Vec<Stored>,
    ) -> Vec<Stored> {
        let mut last = self.lock();
        let _runtime = self.runtime.get().map(Handle::enter);
        let mut idle: Vec<_> = last.take().into_iter().collect();
        while self.backends.state().idle_connections > 0
            && let Some(Ok(next)) = self.backends.get_owned().now_or_never()
        {
            idle.push(next);
        }
        let left_out = look(&mut idle);
        let mut kept = idle.into_iter();
        *last = kept.next();
        // bb8 hands out first what was put back last.
        kept.rev().for_each(drop);
        left_out
    }

    /// Puts one back to be the next to go. Its mere drop would put it behind the last.
    pub(crate) fn put_back(&self, backend: Stored) {
        if backend.close_reason().is_none() {
            let mut last = self.lock();
            // Still locked, so that a count in between does not miss the one before.
            drop(last.replace(backend));
        }
    }

    /// Puts a new one in. Must be called within a runtime.
    pub(crate) fn add(&self, backend: Backend) {
        self.runtime.get_or_init(Handle::current);
        // One that is doomed, or has no room, is ended by its drop.
        drop(self.backends.add(Box::new(backend)));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Stored>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
