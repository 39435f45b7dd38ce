//! The progress of a running transaction, which its timeout reads.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db_pool::ServerError;
use db_pool::plumbing::Observed;
use diesel::result::{DatabaseErrorKind, Error as QueryError};

use crate::error::Error;
use crate::error::stage::Stage;
use crate::transaction::early_commit::EarlyCommit;

/// The running transaction writes it; its timeout reads it.
#[derive(Debug)]
pub(crate) struct TransactionProgress {
    attempt: AtomicU32,
    /// The index of the stage in `STAGES`.
    stage: AtomicU8,
    /// The conflict that ended the last attempt.
    conflict: Mutex<Option<ServerError>>,
    /// The connection of the attempt, and how many early commits it had seen before.
    connection: Mutex<Option<(Arc<Observed>, u64)>>,
}

impl TransactionProgress {
    /// The progress at the first attempt.
    pub(crate) fn new() -> Self {
        Self {
            attempt: AtomicU32::new(1),
            stage: AtomicU8::new(Stage::Checkout as u8),
            conflict: Mutex::default(),
            connection: Mutex::default(),
        }
    }

    /// Notes that the attempt begins on this connection.
    pub(crate) fn works_on(&self, observed: &Arc<Observed>) {
        let connection = (Arc::clone(observed), observed.early_commits());
        *self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }

    /// Whether the attempt has committed with its last statement. Call it only while the attempt
    /// holds its connection.
    pub(crate) fn early_commit(&self) -> EarlyCommit {
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*connection {
            Some((observed, before)) => EarlyCommit::of(observed, *before),
            None => EarlyCommit::None,
        }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn stage(&self) -> Stage {
        STAGES[usize::from(self.stage.load(Ordering::Relaxed))]
    }

    /// Notes that the attempt conflicted and another one follows.
    pub(crate) fn conflicted(&self, conflict: ServerError) {
        *self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        *self.conflict.lock().unwrap_or_else(PoisonError::into_inner) = Some(conflict);
        self.attempt.fetch_add(1, Ordering::Relaxed);
        self.enter(Stage::Delay);
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Relaxed)
    }

    /// The error of a transaction whose time is over. Call it before the transaction is dropped.
    pub(crate) fn timed_out(&self, after: Duration) -> Error {
        let unknown = || {
            let said = format!("the transaction's timeout of {after:?} was over before the answer");
            let kind = DatabaseErrorKind::UnableToSendCommand;
            Error::CommitUnknown(QueryError::DatabaseError(kind, Box::new(said)))
        };
        let timed_out = || Error::TimedOut {
            after,
            attempt: self.attempt(),
            during: self.stage(),
            last_conflict: self.last_conflict(),
        };
        match self.early_commit() {
            EarlyCommit::Done => Error::AfterCommit(Box::new(timed_out())),
            EarlyCommit::Unknown => unknown(),
            EarlyCommit::None if self.stage() == Stage::Commit => unknown(),
            EarlyCommit::None => timed_out(),
        }
    }

    fn last_conflict(&self) -> Option<ServerError> {
        self.conflict
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

const STAGES: [Stage; 4] = [Stage::Checkout, Stage::Work, Stage::Commit, Stage::Delay];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_read_back_as_it_was_entered() {
        let progress = TransactionProgress::new();
        assert_eq!(progress.stage(), Stage::Checkout);
        for stage in STAGES {
            progress.enter(stage);
            assert_eq!(progress.stage(), stage);
        }
    }
}
