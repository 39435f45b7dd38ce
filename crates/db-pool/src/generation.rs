//! Generations: the credentials of connections, numbered, and how many connections of each
//! generation live.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use db_config::Endpoint;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// An endpoint with its credentials, numbered.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) endpoint: Endpoint,
    live: AtomicU32,
    drained: Notify,
    retired: CancellationToken,
}

impl Generation {
    fn new(number: u64, endpoint: Endpoint) -> Arc<Self> {
        Arc::new(Self {
            number,
            endpoint,
            live: AtomicU32::new(0),
            drained: Notify::new(),
            retired: CancellationToken::new(),
        })
    }

    /// A generation for a connection that belongs to no pool, such as one that proves credentials.
    pub(crate) fn beside(endpoint: Endpoint) -> Arc<Self> {
        Self::new(0, endpoint)
    }

    /// Counts a connection of this generation from before it is made until the server has closed it.
    pub(crate) fn join(self: &Arc<Self>) -> Member {
        self.live.fetch_add(1, Ordering::AcqRel);
        Member(Arc::clone(self))
    }

    /// Resolves when no connection of this generation is left.
    pub(crate) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.live.load(Ordering::Acquire) == 0 {
                return;
            }
            drained.await;
        }
    }

    /// Resolves when another generation has replaced it.
    pub(crate) fn retired(&self) -> impl Future<Output = ()> + Send + use<> {
        self.retired.clone().cancelled_owned()
    }

    /// How many connections of this generation are left.
    pub(crate) fn live(&self) -> u32 {
        self.live.load(Ordering::Acquire)
    }
}

/// One connection's membership in its generation.
#[derive(Debug)]
pub(crate) struct Member(Arc<Generation>);

impl Member {
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.0.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.drained.notify_waiters();
        }
    }
}

/// The current generation of a pool, and the older ones that still have connections.
#[derive(Debug)]
pub(crate) struct Generations {
    current: ArcSwap<Generation>,
    older: Mutex<Vec<Weak<Generation>>>,
}

impl Generations {
    /// The first generation has number 1.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            current: ArcSwap::new(Generation::new(1, endpoint)),
            older: Mutex::default(),
        }
    }

    pub(crate) fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Counts a connection that is about to be made with the current credentials.
    pub(crate) fn join(&self) -> Member {
        loop {
            let member = self.current().join();
            // A rotation in the meantime may have found no member to wait for.
            if self.is_current(&member) {
                return member;
            }
        }
    }

    pub(crate) fn is_current(&self, member: &Member) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.current.load()), Arc::as_ptr(&member.0))
    }

    /// Puts a new generation in place. Returns it, and the older ones that still have connections.
    pub(crate) fn publish(&self, endpoint: Endpoint) -> (Arc<Generation>, Vec<Arc<Generation>>) {
        // The lock orders publishers. Readers use only `current`.
        let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = self.current.load_full();
        let next = Generation::new(previous.number + 1, endpoint);
        self.current.store(Arc::clone(&next));
        previous.retired.cancel();
        older.push(Arc::downgrade(&previous));
        let living: Vec<_> = older.iter().filter_map(Weak::upgrade).collect();
        older.retain(|generation| generation.strong_count() > 0);
        (next, living)
    }

    /// How many connections of older generations are left.
    pub(crate) fn retiring(&self) -> u32 {
        self.older
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter_map(Weak::upgrade)
            .map(|generation| generation.live())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use db_config::PooledUrl;

    fn endpoint() -> Endpoint {
        Endpoint::from(PooledUrl::parse("postgres://u:p@localhost/d").unwrap())
    }

    /// req 4.46
    #[tokio::test]
    async fn an_older_generation_is_drained_when_its_last_member_leaves() {
        let generations = Generations::new(endpoint());
        let member = generations.current().join();
        let (next, older) = generations.publish(endpoint());
        assert_eq!((next.number, older.len()), (2, 1));
        assert!(!generations.is_current(&member));
        assert_eq!(generations.retiring(), 1);

        let mut drained = Box::pin(older[0].drained());
        assert!(futures_util::poll!(&mut drained).is_pending());
        drop(member);
        drained.await;
        assert_eq!(generations.retiring(), 0);
    }
}
