//! The end of a transaction whose work has succeeded.

use std::panic::Location;

use db_pool::plumbing::{Observed, Observer};
use db_pool::{Connection, Pool};

use crate::error::Error;
use crate::error::stage::Stage;
use crate::transaction::after_commit;
use crate::transaction::attempt::{
    AttemptOutcome, Before, NotCommitted, commit, may_commit, roll_back,
};
use crate::transaction::progress::TransactionProgress;
use crate::transaction::resolution::CommitId;

/// The facts that decide how a transaction ends.
pub(crate) struct Conclusion<'t> {
    pub(crate) pool: &'t Pool,
    pub(crate) caller: &'static Location<'static>,
    /// Whether to ask the server if the answer to COMMIT is lost.
    pub(crate) resolves_commit: bool,
}

impl Conclusion<'_> {
    /// Commits, or rolls back if it must not commit. Then it runs the actions that the work has registered for
    /// after COMMIT.
    pub(crate) async fn reach(
        self,
        mut conn: Connection,
        observed: &Observed,
        before: &Before,
        progress: &TransactionProgress,
    ) -> Result<AttemptOutcome<()>, Error> {
        let id = match self.ready(&mut conn, observed, before).await {
            Ok(id) => id,
            Err(refusal) => {
                let outcome = before.failed(observed, &refusal);
                roll_back(&mut conn, observed).await;
                return outcome.ok_or(refusal);
            }
        };
        progress.enter(Stage::Commit);
        let mut outcome = commit(&mut conn, observed).await;
        let left = Observer::of(&mut conn)
            .map(Observer::take_after_commit)
            .unwrap_or_default();
        // The connection goes back to the pool first: the next steps may need one, or run the caller's code.
        drop(conn);
        if let Some(id) = id {
            outcome = match outcome {
                Err(NotCommitted::Failed(Error::CommitUnknown(lost))) => id
                    .resolve(self.pool, self.caller, lost)
                    .await
                    .map_err(NotCommitted::Failed),
                known => known,
            };
        }
        match outcome {
            Ok(()) => {
                after_commit::run_all(left);
                Ok(AttemptOutcome::Done(()))
            }
            Err(NotCommitted::Conflict(conflict)) => Ok(AttemptOutcome::Conflict(conflict)),
            Err(NotCommitted::Failed(error)) => Err(error),
        }
    }

    /// Checks that the transaction may commit. Returns the id that identifies it if the answer to COMMIT is
    /// lost.
    async fn ready(
        &self,
        conn: &mut Connection,
        observed: &Observed,
        before: &Before,
    ) -> Result<Option<CommitId>, Error> {
        may_commit(conn, observed, before).await?;
        if !self.resolves_commit {
            return Ok(None);
        }
        Ok(Some(CommitId::take(conn).await?))
    }
}
