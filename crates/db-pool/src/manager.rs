//! The bb8 side: how the store of idle backends tells good ones from bad ones.

use bb8::{ManageConnection, QueueStrategy};

use crate::backend::Backend;

/// The store of idle backends.
pub(crate) type Store = bb8::Pool<Manager>;

/// bb8's view of backends: it stores them and neither makes nor ages them.
pub(crate) struct Manager;

/// bb8 asked for a connection of its own.
#[derive(Debug, thiserror::Error)]
#[error("the store makes no connections")]
pub(crate) struct NotMadeHere;

impl ManageConnection for Manager {
    type Connection = Backend;
    type Error = NotMadeHere;

    // The store asks when a caller finds it empty between our look and our take. Backends come from
    // the pool, which counts them against the gate; bb8's own count overshoots it.
    async fn connect(&self) -> Result<Backend, NotMadeHere> {
        Err(NotMadeHere)
    }

    async fn is_valid(&self, _backend: &mut Backend) -> Result<(), NotMadeHere> {
        Ok(())
    }

    fn has_broken(&self, backend: &mut Backend) -> bool {
        backend.doomed().is_some()
    }
}

/// An empty store with everything off that the pool does itself, the latest returned handed out first.
pub(crate) fn store() -> Store {
    bb8::Pool::builder()
        .max_size(CEILING)
        .min_idle(None)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_on_check_out(false)
        .retry_connection(false)
        .queue_strategy(QueueStrategy::Lifo)
        .build_unchecked(Manager)
}

/// More backends than any pool has; the pool's own gate is what bounds them.
const CEILING: u32 = 1_000_000;
