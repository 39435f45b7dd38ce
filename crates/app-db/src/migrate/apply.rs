//! Runs one migration: its statements, and the record that they have run.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use crate::migrate::error::MigrateError;
use crate::migrate::event::{Listener, MigrationEvent};
use crate::migrate::failed_migration::{FailedMigration, LeftBehind};
use crate::migrate::lock_watch::{LockWatch, names};
use crate::migrate::migrator_session::MigratorSession;
use crate::migrate::retry::{Passing, Retry};
use crate::migrate::settings::MigrationSettings;
use crate::migrate::statements::MigrationStatement;
use crate::migrate::step::Step;

/// What all migrations of one command share.
pub(super) struct Applier<'a> {
    pub(super) session: &'a MigratorSession,
    pub(super) settings: &'a MigrationSettings,
    pub(super) watch: LockWatch,
    pub(super) listener: &'a Listener,
}

impl Applier<'_> {
    /// Runs `steps` in one transaction. If another session was in the way, it starts again from the first
    /// step.
    pub(super) async fn in_transaction(&self, steps: &[Step<'_>]) -> Result<(), MigrateError> {
        let mut retry = Retry::new(self.settings.lock_retry);
        let began = Instant::now();
        loop {
            let error = match self.attempt_transaction(steps, began).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // On a lost connection the ROLLBACK fails as well, but the server has rolled back already.
            let _ = self.session.client.batch_execute("ROLLBACK").await;
            let MigrateError::Failed(failed) = error else {
                return Err(error);
            };
            self.wait_or_fail(*failed, &mut retry).await?;
            // Prepared statements and session locks survive the ROLLBACK.
            if !self.session.reset().await? {
                let migration = steps.first().map(Step::title).unwrap_or_default();
                return Err(MigrateError::LockLost { migration });
            }
        }
    }

    async fn attempt_transaction(
        &self,
        steps: &[Step<'_>],
        began: Instant,
    ) -> Result<(), MigrateError> {
        let client = &self.session.client;
        client
            .batch_execute("BEGIN")
            .await
            .map_err(MigrateError::bookkeeping("begin a transaction"))?;
        for (index, step) in steps.iter().enumerate() {
            if index > 0 {
                self.session.clear().await?;
            }
            self.set(&step.timeouts("SET LOCAL", self.settings), step)
                .await?;
            for (done, statement) in step.statements().into_iter().enumerate() {
                self.listener.tell(|| step.event(done, &statement));
                if let Err(error) = self.send(&statement).await {
                    return Err(step.failed(statement, error, LeftBehind::Nothing).into());
                }
            }
            self.record(step, began.elapsed()).await?;
        }
        match (client.batch_execute("COMMIT").await, steps.last()) {
            (Err(error), Some(step)) => {
                let left = match error.code() {
                    Some(_) => LeftBehind::Nothing,
                    None => LeftBehind::Unknown,
                };
                Err(step.failed(step.end(), error, left).into())
            }
            _ => Ok(()),
        }
    }

    /// Runs each step statement by statement, and records it after the last statement.
    pub(super) async fn without_transaction(&self, steps: &[Step<'_>]) -> Result<(), MigrateError> {
        for step in steps {
            let began = Instant::now();
            self.run_statements(step).await?;
            // A role or `default_transaction_read_only` that the file sets must not affect the record.
            self.session.clear().await?;
            self.record(step, began.elapsed()).await?;
        }
        Ok(())
    }

    async fn run_statements(&self, step: &Step<'_>) -> Result<(), MigrateError> {
        let client = &self.session.client;
        let limited = step.timeouts("SET", self.settings);
        let mut controls_transactions = false;
        let resumable = step.is_resumable();
        let first = if resumable {
            self.first_statement(step).await?
        } else {
            0
        };
        if step.is_up() {
            let progress = resumable.then(|| step.progress(first));
            let table = &self.session.side_table;
            self.note(step, table.begin(step.noted(), progress.as_ref()))
                .await;
        }
        for (done, statement) in step.statements().into_iter().enumerate() {
            controls_transactions |= statement.controls_transaction();
            if done < first && statement.verb() != "set" {
                continue;
            }
            // A concurrent build that is cut short leaves an invalid index. A waiting build blocks nobody.
            let timeouts = if statement.concurrent {
                UNLIMITED
            } else {
                &limited
            };
            let mut retry = Retry::new(self.settings.lock_retry);
            self.set(timeouts, step).await?;
            self.listener.tell(|| step.event(done, &statement));
            let before = self.before(&statement, step).await?;
            // Other statements may have done part of their work when they fail.
            let is_atomic = !statement.concurrent
                && !controls_transactions
                && !matches!(statement.verb(), "call" | "do" | "vacuum");
            let note = (resumable && is_atomic && done >= first)
                .then(|| self.progress(step, done + 1))
                .flatten();
            let mut is_noted = false;
            while let Err(error) = self
                .send_with(&statement, note.as_deref(), &mut is_noted)
                .await
            {
                let _ = client.batch_execute("ROLLBACK").await;
                let is_unknown = error.code().is_none() && statement.controls_transaction();
                let left = if is_unknown {
                    LeftBehind::Unknown
                } else {
                    self.left_behind(done, &before).await
                };
                let failed = step.failed(statement.clone(), error, left);
                if !is_atomic {
                    return Err(failed.into());
                }
                self.wait_or_fail(failed, &mut retry).await?;
            }
            self.require_valid(&before, step).await?;
            if resumable && done >= first && !is_noted {
                self.note(step, self.progress(step, done + 1)).await;
            }
        }
        if controls_transactions {
            // The file may have left a transaction open. Without this COMMIT neither its changes nor the
            // record would remain.
            let failed = MigrateError::bookkeeping(format!("commit migration {}", step.title()));
            client.batch_execute("COMMIT").await.map_err(failed)?;
        }
        Ok(())
    }

    /// How many statements an interrupted run has done. Of these, only the ones that set something run again.
    async fn first_statement(&self, step: &Step<'_>) -> Result<usize, MigrateError> {
        let mut notes = self.session.side_table.read(&self.session.client).await?;
        let Some(progress) = notes.unfinished.remove(step.version()) else {
            return Ok(0);
        };
        if step.progress(progress.done).checksum != progress.checksum {
            return Err(MigrateError::EditedUnfinished {
                version: step.version().to_owned(),
                migration: step.title(),
                done: progress.done,
            });
        }
        if progress.done > 0 {
            tracing::info!(target: "app_db::migrate", version = step.version(), done = progress.done, "going on with an interrupted migration");
        }
        Ok(progress.done)
    }

    fn progress(&self, step: &Step<'_>, done: usize) -> Option<String> {
        let table = &self.session.side_table;
        table.progress(step.noted(), &step.progress(done))
    }

    /// The file may have set a role that may not write the note. Then the next run starts from an earlier statement.
    async fn note(&self, step: &Step<'_>, note: Option<String>) {
        if let Some(note) = note
            && let Err(error) = self.session.client.batch_execute(&note).await
        {
            tracing::warn!(target: "app_db::migrate", version = step.version(), %error, "cannot note how far the migration has come");
        }
    }

    /// Notes for people that a migration has failed, as far as the session can still say so.
    pub(super) async fn note_failure(
        &self,
        step: &Step<'_>,
        sqlstate: Option<&SqlState>,
        elapsed: Duration,
    ) {
        let table = &self.session.side_table;
        let Some(note) = table.failed(step.noted(), sqlstate, elapsed) else {
            return;
        };
        let sql = format!("RESET SESSION AUTHORIZATION; RESET ROLE; {note}");
        if let Err(error) = self.session.client.batch_execute(&sql).await {
            tracing::debug!(target: "app_db::migrate", version = step.version(), %error, "cannot note that the migration has failed");
        }
    }

    /// Sends a statement, and watches meanwhile what it waits for.
    pub(super) async fn send(
        &self,
        statement: &MigrationStatement<'_>,
    ) -> Result<(), tokio_postgres::Error> {
        let sent = self.session.client.batch_execute(statement.sql);
        self.watch.during(self.settings.lock_timeout, sent).await
    }

    /// Sends a statement in one batch with the note that it has run. The server makes one transaction of them, so a
    /// killed run leaves both or neither. If the statement cannot run in a transaction, or the role that the file has
    /// set may not write the note, the server rolls the batch back and the migrator sends the statement alone.
    async fn send_with(
        &self,
        statement: &MigrationStatement<'_>,
        note: Option<&str>,
        is_noted: &mut bool,
    ) -> Result<(), tokio_postgres::Error> {
        let Some(note) = note else {
            return self.send(statement).await;
        };
        let both = format!("{}\n;{note}", statement.sql);
        let sent = self.session.client.batch_execute(&both);
        match self.watch.during(self.settings.lock_timeout, sent).await {
            Err(error) if error.code().is_some_and(|code| ALONE.contains(code)) => {
                self.send(statement).await
            }
            sent => {
                *is_noted = sent.is_ok();
                sent
            }
        }
    }

    /// Waits before the next attempt. Fails if a retry cannot help, or if the time is used up.
    pub(super) async fn wait_or_fail(
        &self,
        mut failed: FailedMigration,
        retry: &mut Retry,
    ) -> Result<(), MigrateError> {
        let passing = failed.passing();
        let delay = passing.and_then(|passing| retry.failed(passing, Instant::now()));
        let waited = retry.summed_up(self.watch.take().await, Instant::now());
        if let Some(delay) = delay {
            self.listener.tell(|| MigrationEvent::Retried {
                version: failed.version.clone(),
                attempt: waited.attempts,
                sqlstate: failed.sqlstate.as_ref().map(|code| code.code().to_owned()),
                delay,
            });
        }
        match (passing, delay) {
            (Some(Passing::Lock), Some(delay)) => {
                tracing::info!(target: "app_db::migrate",
                    version = failed.version,
                    on = waited.on,
                    blockers = names(&waited.blockers),
                    queued = waited.queued,
                    attempt = waited.attempts,
                    ?delay,
                    "a lock could not be had, trying again"
                );
                tokio::time::sleep(delay).await;
                Ok(())
            }
            (Some(Passing::Catalog), Some(delay)) => {
                tracing::info!(target: "app_db::migrate",
                    version = failed.version,
                    sqlstate = failed.sqlstate.as_ref().map(SqlState::code),
                    attempt = waited.attempts,
                    ?delay,
                    "another session changed the same objects, trying again"
                );
                tokio::time::sleep(delay).await;
                Ok(())
            }
            (passing, _) => {
                failed.waited = (passing == Some(Passing::Lock)).then_some(waited);
                Err(failed.into())
            }
        }
    }

    pub(super) async fn set(&self, timeouts: &str, step: &Step<'_>) -> Result<(), MigrateError> {
        let failed =
            MigrateError::bookkeeping(format!("set the timeouts of migration {}", step.title()));
        self.session
            .client
            .batch_execute(timeouts)
            .await
            .map_err(failed)
    }

    /// Resets the role first: a migration may have changed it, and the new role may not be allowed to write
    /// the history.
    pub(super) async fn record(
        &self,
        step: &Step<'_>,
        elapsed: Duration,
    ) -> Result<(), MigrateError> {
        let took = self.session.side_table.took(step.version(), elapsed);
        let sql = format!(
            "RESET SESSION AUTHORIZATION; RESET ROLE; {}; {took}",
            step.record
        );
        let failed = MigrateError::bookkeeping(format!(
            "record migration {} in {}",
            step.title(),
            self.session.history.table
        ));
        self.session
            .client
            .batch_execute(&sql)
            .await
            .map_err(failed)
    }
}

/// The errors with which the server refuses the batch of statement and note, but perhaps not the statement alone.
const ALONE: [SqlState; 3] = [
    SqlState::ACTIVE_SQL_TRANSACTION,
    SqlState::INSUFFICIENT_PRIVILEGE,
    SqlState::INVALID_TRANSACTION_TERMINATION,
];

const UNLIMITED: &str = "SET lock_timeout = 0; SET statement_timeout = 0";
