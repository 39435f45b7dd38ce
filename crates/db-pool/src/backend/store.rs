//! The store of idle backends, which uses bb8.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bb8::{ManageConnection, PooledConnection, QueueStrategy};
use futures_util::FutureExt;
use tokio::runtime::Handle;

use crate::backend::Backend;

/// The store of idle backends.
pub(crate) struct Store {
    /// The backend that was returned last, and is usually handed out next. This bypasses bb8's timer and statistics,
    /// which take longer than all of the pool's own checks.
    ///
    /// The lock is held from the look until the backend is taken. bb8 counts a caller that finds the store empty as a
    /// coming connection, and would then refuse to store one of ours.
    last: Mutex<Option<Stored>>,
    backends: bb8::Pool<Manager>,
    /// The runtime for bb8's timers, because the last handle of a pool may be dropped outside any runtime. Set with the
    /// first backend.
    runtime: OnceLock<Handle>,
}

/// A backend that returns to its store when it is dropped, unless it is marked for closing.
pub(crate) type Stored = PooledConnection<'static, Manager>;

/// bb8's view of backends: bb8 stores them, and neither makes them nor ends them by age.
pub(crate) struct Manager;

/// The error if bb8 asks for a new connection.
#[derive(Debug, thiserror::Error)]
#[error("the store makes no connections")]
pub(crate) struct NotMadeHere;

impl ManageConnection for Manager {
    // Boxed, because it is moved ten times on the way from the store to its holder and back.
    type Connection = Box<Backend>;
    type Error = NotMadeHere;

    // Never called: backends come from the pool, which counts them against its slots. bb8's own count can exceed the
    // maximum.
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
    /// An empty store for up to `ceiling` backends. bb8 does nothing that the pool does itself. The store hands out the
    /// backend that was returned last.
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

    /// How many backends are idle.
    pub(crate) fn idle(&self) -> u32 {
        let last = self.lock();
        self.backends.state().idle_connections + u32::from(last.is_some())
    }

    /// Takes the backend that was returned last.
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

    /// Shows all idle backends to `look`, and takes out the backends that it rejects.
    ///
    /// A caller that wants a backend meanwhile waits until this is over, and misses none. `look` must not drop any
    /// backend, because a drop runs a subscriber's code. The caller gets the rejected backends and drops them.
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
        // bb8 hands out first the backend that was put back last.
        kept.rev().for_each(drop);
        left_out
    }

    /// Puts a backend back, so that it is handed out next. A plain drop would place it after the last one.
    pub(crate) fn put_back(&self, backend: Stored) {
        if backend.close_reason().is_none() {
            let mut last = self.lock();
            // The lock is still held, so that a count in between does not miss the previous backend.
            drop(last.replace(backend));
        }
    }

    /// Puts a new backend in. Must be called within a runtime.
    pub(crate) fn add(&self, backend: Backend) {
        self.runtime.get_or_init(Handle::current);
        // The drop ends a backend that is marked for closing or has no room.
        drop(self.backends.add(Box::new(backend)));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Stored>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
