//! Changes: tells waiting code what happens to the connections of a pool.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Announces every backend that becomes idle and every place that becomes free.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    told: Notify,
    listeners: AtomicU32,
}

impl Changes {
    /// A listener asks for the next change, then looks, then waits. So it misses no change in between.
    pub(crate) fn listen(&self) -> Listener<'_> {
        self.listeners.fetch_add(1, Ordering::SeqCst);
        Listener(self)
    }

    pub(crate) fn tell(&self) {
        self.told.notify_waiters();
    }

    /// Announces a change, at no cost if nobody listens. Use it only for changes under a lock that
    /// listeners also take when they look. Then either a listener sees the change, or this call sees
    /// the listener.
    pub(crate) fn tell_listeners(&self) {
        if self.listeners.load(Ordering::SeqCst) > 0 {
            self.tell();
        }
    }
}

/// A caller that waits for changes.
pub(crate) struct Listener<'c>(&'c Changes);

impl Listener<'_> {
    /// The next change. The caller must enable the future before it looks.
    pub(crate) fn next(&self) -> Notified<'_> {
        self.0.told.notified()
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[tokio::test]
    async fn a_change_is_told_to_everybody_who_asked_before_it() {
        let changes = Changes::default();
        changes.tell_listeners();
        let listener = changes.listen();
        let mut next = pin!(listener.next());
        next.as_mut().enable();
        assert!(futures_util::poll!(&mut next).is_pending());
        changes.tell_listeners();
        next.await;
    }
}
