//! Tries out a plan in a transaction that is rolled back.

use std::time::Instant;

use crate::migrate::Migrator;
use crate::migrate::apply::Applier;
use crate::migrate::error::MigrateError;
use crate::migrate::failed_migration::LeftBehind;
use crate::migrate::migrator_session::MigratorSession;
use crate::migrate::plan::held_locks::HeldLocks;
use crate::migrate::plan::planned::{PlannedMigration, Rehearsed};
use crate::migrate::retry::Retry;
use crate::migrate::source::Migration;
use crate::migrate::statements::MigrationStatement;
use crate::migrate::step::Step;

impl Migrator {
    /// The [`plan`](Self::plan), with the real result of each statement: the pending migrations run in one
    /// transaction, which is rolled back. The rehearsal ends before the first migration that runs outside a
    /// transaction; that one and the later ones are only planned.
    ///
    /// The rehearsal takes the migrators' lock and the locks of the statements, holds them until the end, and
    /// so blocks other sessions. It waits for a lock once, for `migrations.lock_timeout`. Sequences advance,
    /// and effects of functions outside the database stay.
    ///
    /// # Errors
    ///
    /// The errors of [`run`](Self::run); nothing is changed. If the future is dropped, the server rolls back.
    pub async fn rehearse(&self) -> Result<Vec<PlannedMigration>, MigrateError> {
        let migrations = self.source.read()?;
        let mut session = self.open().await?;
        session
            .take_lock(self.settings.lock_wait, &migrations)
            .await?;
        let rehearsed = self.rehearse_in(&session, &migrations).await;
        // After a lost connection there is nothing to roll back.
        let _ = session.client.batch_execute("ROLLBACK").await;
        session.close().await;
        rehearsed
    }

    async fn rehearse_in(
        &self,
        session: &MigratorSession,
        migrations: &[Migration],
    ) -> Result<Vec<PlannedMigration>, MigrateError> {
        let mut planned = self.plan_in(session, migrations).await?;
        let pending = self.pending(session, migrations).await?;
        let mut begin = vec!["BEGIN".to_owned()];
        begin.extend(session.history.missing_definition());
        let failed = MigrateError::bookkeeping("begin the rehearsal");
        session
            .client
            .batch_execute(&begin.join("; "))
            .await
            .map_err(failed)?;
        let applier = self.applier(session);
        let mut locks = HeldLocks::default();
        let transactional = pending.iter().zip(&mut planned);
        for (migration, planned) in transactional.take_while(|(m, _)| m.run_in_transaction) {
            let step = Step::up(migration, session);
            let rehearsed = applier.rehearse(&step, &mut locks).await?;
            for (statement, rehearsed) in planned.statements.iter_mut().zip(rehearsed) {
                statement.rehearsed = Some(rehearsed);
            }
        }
        Ok(planned)
    }
}

impl Applier<'_> {
    /// Runs and records one migration in the open transaction.
    async fn rehearse(
        &self,
        step: &Step<'_>,
        locks: &mut HeldLocks,
    ) -> Result<Vec<Rehearsed>, MigrateError> {
        let client = &self.session.client;
        let failed = || MigrateError::bookkeeping(format!("see the locks of {}", step.title()));
        let began = Instant::now();
        let mut rehearsed = Vec::new();
        self.set(&step.timeouts("SET LOCAL", self.settings), step)
            .await?;
        locks.learn(client).await.map_err(failed())?;
        for statement in step.statements() {
            let began = Instant::now();
            self.send_once(&statement, step).await?;
            let elapsed = began.elapsed();
            let locks = locks.look(client).await.map_err(failed())?;
            rehearsed.push(Rehearsed { elapsed, locks });
        }
        // Deferred constraints would fail only at COMMIT, and there will be none.
        let deferred = client.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await;
        deferred.map_err(|error| step.failed(step.end(), error, LeftBehind::Nothing))?;
        self.record(step, began.elapsed()).await?;
        self.session.clear().await?;
        Ok(rehearsed)
    }

    async fn send_once(
        &self,
        statement: &MigrationStatement<'_>,
        step: &Step<'_>,
    ) -> Result<(), MigrateError> {
        match self.send(statement).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let failed = step.failed(statement.clone(), error, LeftBehind::Nothing);
                self.wait_or_fail(failed, &mut Retry::new(None)).await
            }
        }
    }
}
