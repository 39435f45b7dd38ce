//! What a run would do, statement by statement, from the files and the live catalogue.

mod catalogue_facts;
mod held_locks;
pub(super) mod planned;
mod rehearsal;
mod relations;

use std::collections::BTreeSet;

use crate::migrate::Migrator;
use crate::migrate::checksum::checksum;
use crate::migrate::effect::statement::effect_of;
use crate::migrate::error::MigrateError;
use crate::migrate::failed_migration::line_and_column;
use crate::migrate::migrator_session::MigratorSession;
use crate::migrate::plan::planned::{PlannedMigration, PlannedStatement, shortened};
use crate::migrate::plan::relations::Relations;
use crate::migrate::report;
use crate::migrate::source::Migration;
use crate::migrate::statements::split;
use crate::migrate::step::Step;

impl Migrator {
    /// What [`run`](Self::run) would apply now: for each statement, which relations it locks and how
    /// strongly, how large they are, and whether the server scans or rewrites them.
    ///
    /// This reads the catalogue, changes nothing, and takes neither a lock on a table nor the migrators'
    /// lock. The server's last count gives the sizes. The plan does not see what triggers, functions and
    /// `DO` blocks do.
    ///
    /// # Errors
    ///
    /// The errors of [`status`](Self::status), and those with which [`run`](Self::run) refuses to start.
    /// Dropping the future leaves nothing behind.
    pub async fn plan(&self) -> Result<Vec<PlannedMigration>, MigrateError> {
        let migrations = self.source.read()?;
        let session = self.open().await?;
        let planned = self.plan_in(&session, &migrations).await;
        session.close().await;
        planned
    }

    async fn plan_in(
        &self,
        session: &MigratorSession,
        migrations: &[Migration],
    ) -> Result<Vec<PlannedMigration>, MigrateError> {
        let pending = self.pending(session, migrations).await?;
        let mut created = BTreeSet::new();
        let mut planned = Vec::new();
        for migration in pending {
            planned.push(plan_one(session, migration, &mut created).await?);
        }
        Ok(planned)
    }

    /// The migrations that a run would apply. Fails if the run would refuse to start.
    pub(super) async fn pending<'m>(
        &self,
        session: &MigratorSession,
        migrations: &'m [Migration],
    ) -> Result<Vec<&'m Migration>, MigrateError> {
        let applied = session.history.read(&session.client).await?;
        let notes = session.side_table.read(&session.client).await?;
        report::refuse_drift(report::drifted(migrations, &notes).map(|m| (&m.version, &m.name)))?;
        let pending = self.selection.of(migrations, &applied)?;
        if let Some(plan) = &self.approved {
            plan.require(&session.history.database, &pending, &applied)?;
        }
        for migration in &pending {
            Step::up(migration, session).check(self.allow_empty)?;
        }
        Ok(pending)
    }
}

async fn plan_one(
    session: &MigratorSession,
    migration: &Migration,
    created: &mut BTreeSet<String>,
) -> Result<PlannedMigration, MigrateError> {
    let failed = MigrateError::bookkeeping(format!(
        "ask the catalogue for migration {}",
        migration.title()
    ));
    let mut statements = Vec::new();
    let mut asked = Ok(());
    for statement in split(&migration.up) {
        let effect = effect_of(statement.sql);
        let found = Relations::of(&session.client, &effect, created).await;
        let relations = match found {
            Ok(relations) => relations,
            Err(error) => {
                asked = Err(error);
                break;
            }
        };
        created.extend(effect.creates);
        statements.push(PlannedStatement {
            line: line_and_column(&migration.up, statement.offset).0,
            statement: shortened(statement.sql),
            transaction: migration.run_in_transaction,
            lock_mode: relations.iter().map(|relation| relation.lock_mode).max(),
            rewrite: relations.iter().any(|relation| relation.rewrite),
            scan: relations.iter().any(|relation| relation.scan),
            opaque: effect.opaque,
            relations,
            rehearsed: None,
        });
    }
    asked.map_err(failed)?;
    Ok(PlannedMigration {
        version: migration.version.clone(),
        name: migration.name.clone(),
        path: migration.path.clone(),
        sha256: checksum(&migration.up),
        phase: migration.phase,
        transaction: migration.run_in_transaction,
        statements,
    })
}
