//! The poller of a future: a tokio task, or a thread that blocks on the future.

use std::thread::{self, ThreadId};

use tokio::task;

/// The current poller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poller {
    Task(task::Id),
    Thread(ThreadId),
}

impl Poller {
    pub(crate) fn current() -> Self {
        match task::try_id() {
            Some(task) => Self::Task(task),
            None => Self::Thread(thread::current().id()),
        }
    }
}
