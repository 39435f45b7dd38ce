//! The work of `run`, `revert` and `redo` while they have the lock.

use std::time::Instant;

use crate::migrate::Migrator;
use crate::migrate::apply::Applier;
use crate::migrate::back::Back;
use crate::migrate::error::MigrateError;
use crate::migrate::event::MigrationEvent;
use crate::migrate::lock_watch::LockWatch;
use crate::migrate::migrator_session::MigratorSession;
use crate::migrate::report::FinishedMigration;
use crate::migrate::selection::known_version;
use crate::migrate::source::{Migration, reversible};
use crate::migrate::step::Step;

/// The verb for a command, and its past participle.
#[derive(Clone, Copy)]
pub(super) struct Action(&'static str, &'static str);

impl Action {
    pub(super) const APPLY: Self = Self("apply", "applied");
    pub(super) const REVERT: Self = Self("revert", "reverted");
    const REDO: Self = Self("redo", "redone");
}

impl Migrator {
    pub(super) async fn run_locked(
        &self,
        session: &MigratorSession,
        migrations: &[Migration],
    ) -> Result<Vec<FinishedMigration>, MigrateError> {
        let pending = self.pending(session, migrations).await?;
        let work = pending
            .into_iter()
            .map(|migration| (migration, vec![Step::up(migration, session)]))
            .collect();
        self.perform(session, work, Action::APPLY).await
    }

    pub(super) async fn revert_locked(
        &self,
        session: &MigratorSession,
        migrations: &[Migration],
        back: Back<'_>,
    ) -> Result<Vec<FinishedMigration>, MigrateError> {
        let applied = session.history.read(&session.client).await?;
        let newest_first = applied.keys().rev();
        let versions: Vec<&String> = match back {
            Back::Count(count) => newest_first.take(count).collect(),
            Back::To(given) => {
                let last = known_version(given, migrations)?;
                if !applied.contains_key(&last) {
                    return Err(MigrateError::Irreversible {
                        version: given.to_owned(),
                        reason: "it is not applied, so nothing can be reverted down to it"
                            .to_owned(),
                    });
                }
                newest_first
                    .take_while(|version| **version > last)
                    .collect()
            }
        };
        let mut work = Vec::new();
        for version in versions {
            let (migration, down) = reversible(migrations, version)?;
            work.push((migration, vec![Step::down(migration, down, session)]));
        }
        self.perform(session, work, Action::REVERT).await
    }

    pub(super) async fn redo_locked(
        &self,
        session: &MigratorSession,
        migrations: &[Migration],
    ) -> Result<Option<FinishedMigration>, MigrateError> {
        let applied = session.history.read(&session.client).await?;
        let Some(version) = applied.keys().next_back() else {
            return Ok(None);
        };
        let (migration, down) = reversible(migrations, version)?;
        let steps = vec![
            Step::down(migration, down, session),
            Step::up(migration, session),
        ];
        let mut finished = self
            .perform(session, vec![(migration, steps)], Action::REDO)
            .await?;
        Ok(finished.pop())
    }

    /// Checks the steps of all migrations first, and then runs them.
    pub(super) async fn perform(
        &self,
        session: &MigratorSession,
        work: Vec<(&Migration, Vec<Step<'_>>)>,
        action: Action,
    ) -> Result<Vec<FinishedMigration>, MigrateError> {
        for step in work.iter().flat_map(|(_, steps)| steps) {
            step.check(self.allow_empty)?;
        }
        let limits = work.iter().filter_map(|(migration, _)| {
            let own = migration.limits.lock_timeout;
            own.map_or(self.settings.lock_timeout, |limit| limit.0)
        });
        if let Some(shortest) = limits.min() {
            session.warn_of_autovacuum(shortest).await?;
        }
        let applier = self.applier(session);
        let mut finished = Vec::new();
        for (migration, steps) in work {
            finished.push(
                self.perform_one(&applier, migration, &steps, action, finished.len())
                    .await?,
            );
        }
        Ok(finished)
    }

    pub(super) fn applier<'a>(&'a self, session: &'a MigratorSession) -> Applier<'a> {
        Applier {
            session,
            settings: &self.settings,
            watch: LockWatch::new(
                &self.server,
                session.pid(),
                self.end_idle_blockers,
                self.listener.clone(),
            ),
            listener: &self.listener,
        }
    }

    async fn perform_one(
        &self,
        applier: &Applier<'_>,
        migration: &Migration,
        steps: &[Step<'_>],
        Action(action, done): Action,
        finished_before: usize,
    ) -> Result<FinishedMigration, MigrateError> {
        let started = Instant::now();
        let Migration { version, name, .. } = migration;
        self.listener.tell(|| MigrationEvent::Started {
            version: version.clone(),
            name: name.clone(),
            action,
        });
        for setting in steps.iter().flat_map(Step::own_timeouts) {
            tracing::info!(target: "app_db::migrate", version, setting, "a migration sets its own timeout");
        }
        let result = if migration.run_in_transaction {
            applier.in_transaction(steps).await
        } else {
            applier.without_transaction(steps).await
        };
        if let Err(mut error) = result {
            let sqlstate = match &mut error {
                MigrateError::Failed(failed) => {
                    failed.finished_before = finished_before;
                    Some(failed.sqlstate.clone())
                }
                MigrateError::IndexNotBuilt { .. } => Some(None),
                _ => None,
            };
            if let (Some(sqlstate), Some(step)) = (sqlstate, steps.last()) {
                let elapsed = started.elapsed();
                applier.note_failure(step, sqlstate.as_ref(), elapsed).await;
            }
            self.listener.tell(|| error.event(version));
            return Err(error);
        }
        let elapsed = started.elapsed();
        tracing::info!(target: "app_db::migrate", version, name, done, elapsed_ms = elapsed.as_millis(), "a migration has run");
        self.listener.tell(|| MigrationEvent::Finished {
            version: version.clone(),
            name: name.clone(),
            action,
            elapsed,
        });
        if !applier.session.reset().await? {
            return Err(MigrateError::LockLost {
                migration: migration.title(),
            });
        }
        Ok(FinishedMigration {
            version: version.clone(),
            name: name.clone(),
            elapsed,
        })
    }
}
