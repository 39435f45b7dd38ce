//! Runs one migration: its statements, and the record that they have run.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::migrate::error::{FailedMigration, FailedStatement, LeftBehind, MigrateError};
use crate::migrate::migrator_session::MigratorSession;
use crate::migrate::settings::MigrationSettings;
use crate::migrate::source::{DOWN, Migration, UP};
use crate::migrate::statements::{MigrationStatement, mentions, split};

/// One file to run, and how to record it.
pub(super) struct Step<'a> {
    version: &'a str,
    file: PathBuf,
    text: &'a str,
    record: String,
}

impl<'a> Step<'a> {
    pub(super) fn up(migration: &'a Migration, session: &MigratorSession) -> Self {
        Self {
            version: &migration.version,
            file: migration.path.join(UP),
            text: &migration.up,
            record: session.history.insert(&migration.version),
        }
    }

    pub(super) fn down(migration: &'a Migration, down: &'a str, session: &MigratorSession) -> Self {
        Self {
            version: &migration.version,
            file: migration.path.join(DOWN),
            text: down,
            record: session.history.delete(&migration.version),
        }
    }

    /// Refuses SQL that would end the transaction of the migrator halfway.
    pub(super) fn refuse_transaction_control(&self) -> Result<(), MigrateError> {
        match split(self.text)
            .iter()
            .find(|statement| statement.controls_transaction())
        {
            None => Ok(()),
            Some(statement) => Err(MigrateError::source(
                &self.file,
                format!(
                    "contains `{}`, but runs in a transaction of the migrator's: remove it, or set \
                     `run_in_transaction = false` in metadata.toml",
                    statement.sql
                ),
            )),
        }
    }

    /// The `SET` statements for both timeouts, except for a timeout that the file itself sets.
    fn timeouts(&self, scope: &str, settings: &MigrationSettings) -> String {
        [
            ("lock_timeout", settings.lock_timeout),
            ("statement_timeout", settings.statement_timeout),
        ]
        .into_iter()
        .filter(|(name, _)| !mentions(self.text, name))
        .map(|(name, limit)| {
            format!(
                "{scope} {name} = {};",
                limit.unwrap_or_default().as_millis()
            )
        })
        .collect()
    }

    fn failed(
        &self,
        statement: MigrationStatement<'_>,
        source: Error,
        left: LeftBehind,
    ) -> MigrateError {
        let failure = FailedStatement {
            version: self.version,
            file: self.file.clone(),
            text: self.text,
            statement,
            source,
        };
        MigrateError::Failed(Box::new(FailedMigration::new(failure, left)))
    }
}

/// Runs `steps` in one transaction. If it cannot get a lock, it starts again from the first step.
pub(super) async fn in_transaction(
    session: &MigratorSession,
    steps: &[Step<'_>],
    settings: &MigrationSettings,
) -> Result<(), MigrateError> {
    let mut attempt = 1;
    loop {
        let error = match attempt_transaction(session, steps, settings).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // On a lost connection the ROLLBACK fails as well, but the server has rolled back already.
        let _ = session.client.batch_execute("ROLLBACK").await;
        if attempt == LOCK_ATTEMPTS || !waited_in_vain(&error) {
            return Err(error);
        }
        let delay = retry_delay(attempt);
        tracing::info!(target: "app_db::migrate", %error, attempt, ?delay, "a lock could not be had, trying again");
        tokio::time::sleep(delay).await;
        attempt += 1;
    }
}

async fn attempt_transaction(
    session: &MigratorSession,
    steps: &[Step<'_>],
    settings: &MigrationSettings,
) -> Result<(), MigrateError> {
    let client = &session.client;
    client
        .batch_execute("BEGIN")
        .await
        .map_err(MigrateError::bookkeeping("begin a transaction"))?;
    for step in steps {
        let failed = MigrateError::bookkeeping("set the timeouts of a migration");
        client
            .batch_execute(&step.timeouts("SET LOCAL", settings))
            .await
            .map_err(failed)?;
        for statement in split(step.text) {
            if let Err(error) = client.batch_execute(statement.sql).await {
                return Err(step.failed(statement, error, LeftBehind::Nothing));
            }
        }
        record(session, step).await?;
    }
    match (client.batch_execute("COMMIT").await, steps.last()) {
        (Err(error), Some(step)) => {
            let left = match error.code() {
                Some(_) => LeftBehind::Nothing,
                None => LeftBehind::Unknown,
            };
            Err(step.failed(MigrationStatement::end_of(step.text), error, left))
        }
        _ => Ok(()),
    }
}

/// Runs each step statement by statement, and records it after the last statement.
pub(super) async fn without_transaction(
    session: &MigratorSession,
    steps: &[Step<'_>],
    settings: &MigrationSettings,
) -> Result<(), MigrateError> {
    for step in steps {
        run_statements(session, step, settings).await?;
        record(session, step).await?;
    }
    Ok(())
}

async fn run_statements(
    session: &MigratorSession,
    step: &Step<'_>,
    settings: &MigrationSettings,
) -> Result<(), MigrateError> {
    let client = &session.client;
    let limited = step.timeouts("SET", settings);
    let mut controls_transactions = false;
    for (done, statement) in split(step.text).into_iter().enumerate() {
        controls_transactions |= statement.controls_transaction();
        // A concurrent build that is cut short leaves an invalid index. While it waits it blocks
        // nobody.
        let timeouts = if statement.concurrent {
            UNLIMITED
        } else {
            &limited
        };
        let failed = MigrateError::bookkeeping("set the timeouts of a migration");
        client.batch_execute(timeouts).await.map_err(failed)?;
        if let Err(error) = client.batch_execute(statement.sql).await {
            let _ = client.batch_execute("ROLLBACK").await;
            let invalid_indexes = invalid_indexes(session).await;
            let left = LeftBehind::Statements {
                done,
                invalid_indexes,
            };
            return Err(step.failed(statement, error, left));
        }
    }
    if controls_transactions {
        // The file may have left a transaction open. Without this COMMIT neither its changes nor the
        // record would remain.
        let failed = MigrateError::bookkeeping("commit a migration");
        client.batch_execute("COMMIT").await.map_err(failed)?;
    }
    Ok(())
}

/// Resets the role first: a migration may have changed it, and the new role may not be allowed to write the
/// history.
async fn record(session: &MigratorSession, step: &Step<'_>) -> Result<(), MigrateError> {
    let sql = format!("RESET ROLE; {}", step.record);
    let failed = MigrateError::bookkeeping("record the migration in __diesel_schema_migrations");
    session.client.batch_execute(&sql).await.map_err(failed)
}

async fn invalid_indexes(session: &MigratorSession) -> Vec<String> {
    let sql = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1";
    let rows = session.client.query(sql, &[]).await.unwrap_or_default();
    rows.iter().filter_map(|row| row.try_get(0).ok()).collect()
}

/// Whether a migration failed only because another session held a lock.
fn waited_in_vain(error: &MigrateError) -> bool {
    match error {
        MigrateError::Failed(failed) => matches!(
            failed.sqlstate,
            Some(SqlState::LOCK_NOT_AVAILABLE | SqlState::T_R_DEADLOCK_DETECTED)
        ),
        _ => false,
    }
}

/// A random delay of up to 250 ms, doubled with each attempt up to 8 s.
fn retry_delay(attempt: u32) -> Duration {
    Duration::from_millis(fastrand::u64(1..=250 << attempt.saturating_sub(1).min(5)))
}

/// With a lock timeout of 2 s it gives a busy table up after about half a minute.
const LOCK_ATTEMPTS: u32 = 10;

const UNLIMITED: &str = "SET lock_timeout = 0; SET statement_timeout = 0";

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> Step<'_> {
        Step {
            version: "1",
            file: PathBuf::from("1_a/up.sql"),
            text,
            record: String::new(),
        }
    }

    #[test]
    fn transaction_control_in_a_transactional_migration_is_refused() {
        let error = step("create table t();\nCOMMIT;")
            .refuse_transaction_control()
            .unwrap_err();
        assert!(
            error.to_string().contains("1_a/up.sql contains `COMMIT`"),
            "{error}"
        );
        step("do $$ begin commit; end $$")
            .refuse_transaction_control()
            .unwrap();
    }

    #[test]
    fn a_timeout_set_by_the_file_is_left_alone() {
        let settings = MigrationSettings {
            directory: PathBuf::new(),
            lock_timeout: Some(Duration::from_secs(2)),
            statement_timeout: None,
            lock_wait: Duration::ZERO,
        };
        assert_eq!(
            step("select 1").timeouts("SET", &settings),
            "SET lock_timeout = 2000;SET statement_timeout = 0;"
        );
        assert_eq!(
            step("SET LOCAL lock_timeout = 1").timeouts("SET", &settings),
            "SET statement_timeout = 0;"
        );
    }

    #[test]
    fn retries_wait_no_longer_than_eight_seconds() {
        assert!((1..=LOCK_ATTEMPTS).all(|attempt| retry_delay(attempt) <= Duration::from_secs(8)));
    }
}
