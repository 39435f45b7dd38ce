//! The runtime of a pool: the runtime of its first use.

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// The tasks of a pool, and the runtime that they run on.
#[derive(Default)]
pub(crate) struct PoolRuntime {
    pub(crate) tasks: TaskTracker,
    handle: OnceLock<Handle>,
    /// The tasks that wait for a runtime.
    unstarted: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl PoolRuntime {
    /// Gives the pool the current runtime, unless it has one, and starts the tasks that wait for a runtime.
    pub(crate) fn begin(&self) {
        if self.handle.get().is_none()
            && let Ok(current) = Handle::try_current()
        {
            let mut unstarted = self.lock_unstarted();
            let handle = self.handle.get_or_init(|| current);
            for task in unstarted.drain(..) {
                self.tasks.spawn_on(task, handle);
            }
        }
    }

    /// Runs a task on that runtime, or keeps it until there is one.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.begin();
        if let Some(handle) = self.handle.get() {
            self.tasks.spawn_on(task, handle);
            return;
        }
        let mut unstarted = self.lock_unstarted();
        match self.handle.get() {
            // Another thread has set the runtime meanwhile.
            Some(handle) => drop(self.tasks.spawn_on(task, handle)),
            None => unstarted.push(Box::pin(task)),
        }
    }

    fn lock_unstarted(&self) -> MutexGuard<'_, Vec<BoxFuture<'static, ()>>> {
        self.unstarted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PoolRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolRuntime")
            .field("tasks", &self.tasks)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;

    #[test]
    fn a_task_that_was_spawned_outside_any_runtime_runs_on_the_first_one() {
        let runtime = PoolRuntime::default();
        let (ran, has_run) = oneshot::channel();
        runtime.spawn(async move { ran.send(()).unwrap() });
        assert!(runtime.tasks.is_empty());
        let first = Builder::new_current_thread().build().unwrap();
        first.block_on(async {
            runtime.begin();
            has_run.await.unwrap();
        });
    }
}
