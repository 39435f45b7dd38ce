//! Ways out after an edit: to accept it, or to start again.

use crate::migrate::Migrator;
use crate::migrate::checksum::checksum;
use crate::migrate::error::MigrateError;
use crate::migrate::layout::version_of;

impl Migrator {
    /// Takes the `up.sql` of an applied migration as it is now for the one that was applied. Nothing is run.
    ///
    /// `version` may be written as in the name of the directory.
    ///
    /// # Errors
    ///
    /// [`MigrateError::NotApplied`] if the migration is not applied, or its files are not in the source, and
    /// the errors of [`run`](Self::run) except the errors of running a migration. If the future is dropped, the edit is
    /// accepted or not.
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
        let note = session.side_table.note(&number, &checksum(&migration.up));
        let title = migration.title();
        let failed = MigrateError::bookkeeping(format!("note the checksum of migration {title}"));
        let noted = session.client.batch_execute(&note).await.map_err(failed);
        session.close().await;
        noted
    }

    /// Forgets how far an unfinished migration has come, so that the next run starts with its first
    /// statement. What has run stays, and is for the caller to undo.
    ///
    /// `version` may be written as in the name of the directory.
    ///
    /// # Errors
    ///
    /// [`MigrateError::NotApplied`] if the migration is not unfinished, and the errors of
    /// [`run`](Self::run) except the errors of running a migration. If the future is dropped, it is forgotten or not.
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
}
