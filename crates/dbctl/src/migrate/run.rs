//! `dbctl migrate run`, `revert` and `redo`, and what they print on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use app_db::{FinishedMigration, MigrateError, MigrationEvent, Migrator};
use serde::Serialize;
use serde_json::{Value, json};

use crate::command_failure::{CommandFailure, chain};
use crate::count::Count;
use crate::exit::Exit;
use crate::output;
use crate::progress::Progress;

/// Applies what is pending.
pub(crate) async fn apply(
    migrator: Migrator,
    json: bool,
    progress: &Progress,
) -> Result<Exit, CommandFailure> {
    let told = Told::new(json, progress);
    let migrator = told.to(migrator);
    let outcome = migrator.run().await;
    told.summarise(outcome, "applied")
}

/// How far to revert.
pub(crate) enum Back {
    Steps(u32),
    All,
    To(String),
}

/// Reverts the newest migrations.
pub(crate) async fn revert(
    migrator: Migrator,
    back: Back,
    json: bool,
    progress: &Progress,
) -> Result<Exit, CommandFailure> {
    let told = Told::new(json, progress);
    let migrator = told.to(migrator);
    let outcome = match back {
        Back::Steps(count) => migrator.revert(count).await,
        Back::All => migrator.revert_all().await,
        Back::To(version) => migrator.revert_to(&version).await,
    };
    told.summarise(outcome, "reverted")
}

/// Reverts and applies the newest migration.
pub(crate) async fn redo(
    migrator: Migrator,
    json: bool,
    progress: &Progress,
) -> Result<Exit, CommandFailure> {
    let told = Told::new(json, progress);
    let migrator = told.to(migrator);
    let outcome = migrator.redo().await;
    told.summarise(outcome.map(|redone| redone.into_iter().collect()), "redone")
}

/// Who is told of events: a terminal, or a program that reads JSON lines.
struct Told {
    json: bool,
    progress: Progress,
    /// Whether a line of JSON has reported the failure.
    failed: Arc<AtomicBool>,
}

impl Told {
    fn new(json: bool, progress: &Progress) -> Self {
        Self {
            json,
            progress: progress.clone(),
            failed: Arc::default(),
        }
    }

    fn to(&self, migrator: Migrator) -> Migrator {
        let progress = self.progress.clone();
        let failed = Arc::clone(&self.failed);
        if self.json {
            migrator.on_event(move |event| {
                if matches!(event, MigrationEvent::Failed { .. }) {
                    failed.store(true, Ordering::Relaxed);
                }
                line(event);
            })
        } else {
            migrator.on_event(move |event| progress.show(event))
        }
    }

    /// Reports how many migrations there were. The migrator logs each of them as it happens.
    fn summarise(
        &self,
        outcome: Result<Vec<FinishedMigration>, MigrateError>,
        done: &str,
    ) -> Result<Exit, CommandFailure> {
        self.progress.clear();
        let finished = match outcome {
            Ok(finished) => finished,
            Err(error) => {
                if self.json && !self.failed.load(Ordering::Relaxed) {
                    let message = chain(&error);
                    line(&json!({ "event": "failed", "version": null, "message": message }));
                }
                return Err(error.into());
            }
        };
        match finished.len() {
            0 => output::progress("nothing to do"),
            count => {
                let migrations = Count(count, "migration", "migrations");
                output::progress(format_args!("{migrations} {done}"));
            }
        }
        Ok(Exit::Done)
    }
}

/// Writes one line of JSON. Every line has the version of the format.
fn line(event: &impl Serialize) {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(event) else {
        return;
    };
    fields.insert("schema".to_owned(), json!(1));
    // If the line cannot be written, nobody reads it.
    let _ = output::data(Value::Object(fields));
}
