//! What the logins of a pool have found out about the other end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, MutexGuard};
use tokio::time::timeout;

use crate::connect::pooler::Pooler;
use crate::connect::session_facts::SessionFacts;

/// The newest findings, and whose turn it is to ask for newer ones.
#[derive(Default)]
pub(crate) struct Findings {
    newest: Mutex<Option<Found>>,
    /// Held by the login that asks.
    asking: AsyncMutex<()>,
}

/// The findings about the other end, and their generation.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) generation: u64,
    pub(crate) pooler: Pooler,
    pub(crate) facts: Arc<SessionFacts>,
}

impl Findings {
    pub(crate) fn newest(&self) -> Option<Found> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.clone()
    }

    pub(crate) fn of_generation(&self, generation: u64) -> Option<Found> {
        self.newest().filter(|found| found.generation == generation)
    }

    /// Waits until no other login asks. Returns `None` if that takes too long: the other login may hang on a host
    /// that this one has not met.
    pub(crate) async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        timeout(PATIENCE, self.asking.lock()).await.ok()
    }

    /// Keeps the findings. Returns whether the pooler is another one than before.
    pub(crate) fn keep(&self, found: &Found) -> bool {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let before = newest.replace(found.clone());
        before.is_none_or(|before| before.pooler != found.pooler)
    }
}

/// How long a login waits for another one's answer. An answer takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
