//! Repairs: accept an edit, start again, or continue from a statement.

use crate::migrate::Migrator;
use crate::migrate::checksum::checksum;
use crate::migrate::count::Count;
use crate::migrate::error::MigrateError;
use crate::migrate::layout::version_of;
use crate::migrate::migrator_session::MigratorSession;
use crate::migrate::notes::Noted;
use crate::migrate::source::Migration;
use crate::migrate::step::Step;

impl Migrator {
    /// Accepts the current `up.sql` of an applied migration as the one that was applied. Nothing is run.
    ///
    /// `version` may be written as in the name of the directory.
    ///
    /// # Errors
    ///
    /// [`MigrateError::NotApplied`] if the migration is not applied, or its files are not in the source, and the errors
    /// of [`run`](Self::run) except the errors of running a migration. If the future is dropped, the edit may or may
    /// not be accepted.
    pub async fn accept(&self, version: &str) -> Result<(), MigrateError> {
        let migrations = self.source.read()?;
        let number = version_of(version);
        let not_applied = |reason: &str| MigrateError::NotApplied {
            version: version.to_owned(),
            reason: reason.to_owned(),
        };
        let migration = migrations
            .iter()
            .find(|migration| migration.version == number)
            .ok_or_else(|| not_applied("its files are not here"))?;

        let session = self.open_and_lock(&migrations).await?;
        let applied = session.history.read(&session.client).await?;
        if !applied.contains_key(&number) {
            session.close().await;
            return Err(not_applied("the database has no record of it"));
        }
        let note = session
            .side_table
            .note(Noted::of(migration, &checksum(&migration.up)), "applied");
        let title = migration.title();
        let failed = MigrateError::bookkeeping(format!("note the checksum of migration {title}"));
        let noted = session.client.batch_execute(&note).await.map_err(failed);
        session.close().await;
        noted
    }

    /// Forgets how far an unfinished migration has come, so that the next run starts with its first statement. The
    /// effects of the statements that have run stay, and the caller has to undo them.
    ///
    /// `version` may be written as in the name of the directory.
    ///
    /// # Errors
    ///
    /// [`MigrateError::NotApplied`] if the migration is not unfinished, and the errors of [`run`](Self::run) except the
    /// errors of running a migration. If the future is dropped, the progress may or may not be forgotten.
    pub async fn restart(&self, version: &str) -> Result<(), MigrateError> {
        let migrations = self.source.read()?;
        let number = version_of(version);
        let session = self.open_and_lock(&migrations).await?;
        let notes = session.side_table.read(&session.client).await?;
        let forgotten = if notes.unfinished.contains_key(&number) {
            let failed = MigrateError::bookkeeping(format!("forget the progress of {version}"));
            let forget = session.side_table.forget(&number);
            session.client.batch_execute(&forget).await.map_err(failed)
        } else {
            Err(MigrateError::NotApplied {
                version: version.to_owned(),
                reason: "it is not unfinished".to_owned(),
            })
        };
        session.close().await;
        forgotten
    }

    /// Lets the next run of a migration outside a transaction begin with statement number `statement`, counted from 1.
    /// The caller vouches that the statements before it have run. One more than the last is allowed: then the run only
    /// records the migration.
    ///
    /// `version` may be written as in the name of the directory.
    ///
    /// # Errors
    ///
    /// [`MigrateError::NotApplied`] if no run of the migration can begin there, and the errors of [`run`](Self::run)
    /// except the errors of running a migration. If the future is dropped, the start may or may not be noted.
    pub async fn resume_at(&self, version: &str, statement: usize) -> Result<(), MigrateError> {
        let migrations = self.source.read()?;
        let number = version_of(version);
        let refused = |reason: &str| MigrateError::NotApplied {
            version: version.to_owned(),
            reason: reason.to_owned(),
        };
        let migration = migrations
            .iter()
            .find(|migration| migration.version == number)
            .ok_or_else(|| refused("its files are not here"))?;
        let session = self.open_and_lock(&migrations).await?;
        let noted = note_resume(&session, migration, statement, refused).await;
        session.close().await;
        noted
    }
}

async fn note_resume(
    session: &MigratorSession,
    migration: &Migration,
    statement: usize,
    refused: impl Fn(&str) -> MigrateError,
) -> Result<(), MigrateError> {
    let applied = session.history.read(&session.client).await?;
    let step = Step::up(migration, session);
    let count = step.statements().len();
    if applied.contains_key(&migration.version) {
        return Err(refused("it is applied"));
    }
    if migration.run_in_transaction {
        return Err(refused("it runs in a transaction, whole or not at all"));
    }
    if !step.is_resumable() {
        return Err(refused(
            "it has transactions of its own, so it starts with its first statement",
        ));
    }
    if !(1..=count + 1).contains(&statement) {
        let statements = Count(count, "statement", "statements");
        return Err(refused(&format!("it has {statements}, counted from 1")));
    }
    let progress = step.progress(statement - 1);
    let note = session.side_table.progress(step.noted(), &progress);
    let note = note.ok_or_else(|| refused("the role may not write __dbctl_migrations"))?;
    let failed = MigrateError::bookkeeping(format!("note where {} goes on", migration.title()));
    session.client.batch_execute(&note).await.map_err(failed)
}
