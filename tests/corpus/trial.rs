//! One folder, with psql and with the migrator.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use app_db::{DirectUrl, FinishedMigration, MigrateError, MigrationSource, Migrator};
use harness::Server;

use crate::folder::migrations;
use crate::psql;

/// The result for one folder.
pub(crate) struct Trial {
    migrations: usize,
    by_psql: Duration,
    by_us: Duration,
    /// The first line in which the schemas differ.
    differs: Option<String>,
    reverted: usize,
    /// Why no more was reverted.
    stopped: Option<String>,
    /// Whether everything could be applied again after the revert.
    again: Result<usize, String>,
}

impl Trial {
    pub(crate) async fn of(server: &Server, folder: &Path) -> Result<Self, String> {
        let (reference, ours) = ("corpus_psql", "corpus_migrator");
        for database in [reference, ours] {
            let anew = [
                format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
                format!("CREATE DATABASE {database}"),
            ];
            for sql in anew {
                server.sql(&sql).await.map_err(|error| error.to_string())?;
            }
        }
        let (reference, ours) = (server.url(reference), server.url(ours));

        psql::make_history(&reference)?;
        let began = Instant::now();
        let files = migrations(folder);
        for migration in &files {
            psql::apply(&reference, migration).map_err(|problem| {
                format!("psql itself cannot: {}: {problem}", migration.display())
            })?;
        }
        let by_psql = began.elapsed();

        let url = DirectUrl::parse(&ours).map_err(|error| error.to_string())?;
        let source = MigrationSource::directory(folder);
        let migrator = Migrator::new(url, source)
            .allow_empty(true)
            .statement_timeout(None);
        let began = Instant::now();
        let applied = migrator.run().await.map_err(|error| chain(&error))?;
        let by_us = began.elapsed();
        let differs = difference(&psql::schema(&reference)?, &psql::schema(&ours)?);

        let (reverted, stopped) = revert(&migrator, applied.len()).await;
        let again = migrator.run().await;
        Ok(Self {
            migrations: applied.len(),
            by_psql,
            by_us,
            differs,
            reverted,
            stopped,
            again: again
                .map(|again| again.len())
                .map_err(|error| chain(&error)),
        })
    }

    pub(crate) fn is_well(&self) -> bool {
        self.differs.is_none()
    }
}

/// Reverts one by one, as far as the files allow.
async fn revert(migrator: &Migrator, most: usize) -> (usize, Option<String>) {
    for done in 0..most {
        let reverted: Result<Vec<FinishedMigration>, MigrateError> = migrator.revert(1).await;
        if let Err(error) = reverted {
            return (done, Some(chain(&error)));
        }
    }
    (most, None)
}

fn difference(reference: &str, ours: &str) -> Option<String> {
    let mut pairs = reference.lines().zip(ours.lines());
    let first = pairs.find(|(reference, ours)| reference != ours);
    match first {
        Some((reference, ours)) => Some(format!("psql has `{reference}`, the migrator `{ours}`")),
        None if reference.lines().count() != ours.lines().count() => {
            Some("one schema is longer than the other".to_owned())
        }
        None => None,
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} migrations, psql {:.1?}, migrator {:.1?}",
            self.migrations, self.by_psql, self.by_us
        )?;
        match &self.differs {
            None => f.write_str(", same schema")?,
            Some(differs) => write!(f, ", OTHER SCHEMA: {differs}")?,
        }
        write!(f, "; {} reverted", self.reverted)?;
        if let Some(stopped) = &self.stopped {
            write!(f, " (then: {stopped})")?;
        }
        match &self.again {
            Ok(again) => write!(f, "; {again} applied again"),
            Err(problem) => write!(f, "; not applied again: {problem}"),
        }
    }
}
