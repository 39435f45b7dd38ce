//! Whether each `down.sql` undoes what its `up.sql` does.

use db_config::DirectUrl;
use db_pool::Endpoint;
use serde::Serialize;

use crate::migrate::Migrator;
use crate::migrate::catalogue::{Catalogue, Differences};
use crate::migrate::database::{beside, create_named, drop_named};
use crate::migrate::error::MigrateError;
use crate::migrate::migrator_session::MigratorSession;
use crate::migrate::run::Action;
use crate::migrate::source::Migration;
use crate::migrate::step::Step;

/// The results of all migrations, in order.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// Each verified migration.
    pub migrations: Vec<VerifiedMigration>,
}

/// The result of one migration.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct VerifiedMigration {
    /// The version as recorded.
    pub version: String,
    /// The rest of the directory's name.
    pub name: String,
    /// Whether it has a `down.sql`. Without one it was only applied.
    pub reversible: bool,
    /// Objects that `down.sql` has left behind.
    pub left: Vec<String>,
    /// Objects that existed before `up.sql`, and are gone after `down.sql`.
    pub missing: Vec<String>,
    /// Objects that `down.sql` has not restored to their former definition.
    pub changed: Vec<String>,
    /// Objects that differ after the second run of `up.sql`.
    pub different_again: Vec<String>,
}

impl Verification {
    /// Whether every existing `down.sql` undoes everything.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.migrations.iter().all(VerifiedMigration::is_clean)
    }
}

impl VerifiedMigration {
    /// Whether its `down.sql`, if there is one, undoes everything.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        [
            &self.left,
            &self.missing,
            &self.changed,
            &self.different_again,
        ]
        .into_iter()
        .all(Vec::is_empty)
    }
}

impl Migrator {
    /// Applies, reverts and applies again every migration in a scratch database, and compares the catalogue
    /// before and after.
    ///
    /// The scratch database is that of `scratch`, which has to be empty. Without `scratch`, the migrator creates one
    /// beside its own database and drops it at the end. It compares neither the rows of tables nor the order of
    /// columns.
    ///
    /// # Errors
    ///
    /// The errors of [`run`](Self::run), and [`MigrateError::NotEmpty`]. If the future is dropped, a created database
    /// stays until the next call drops it.
    pub async fn verify(&self, scratch: Option<&DirectUrl>) -> Result<Verification, MigrateError> {
        self.verify_some(scratch, |_| true).await
    }

    /// Like [`verify`](Self::verify), but only for the migrations that `chosen` accepts. The others are only applied,
    /// and are not in the result.
    ///
    /// # Errors
    ///
    /// The errors of [`verify`](Self::verify).
    pub async fn verify_some(
        &self,
        scratch: Option<&DirectUrl>,
        chosen: impl Fn(&Migration) -> bool,
    ) -> Result<Verification, MigrateError> {
        let migrations = self.source.read()?;
        let mut scratch_migrator = self.clone();
        let Some(scratch) = scratch else {
            let client = beside(&self.server).await?;
            drop_left_over(&client, self.database()).await?;
            let name = format!("{}{}{:x}", self.database(), SCRATCH, fastrand::u32(..));
            create_named(&client, &name).await?;
            scratch_migrator.server.endpoint.dbname.clone_from(&name);
            let verified = scratch_migrator.verify_here(&migrations, &chosen).await;
            let dropped = drop_named(&client, &name, true).await;
            let verified = verified?;
            dropped?;
            return Ok(verified);
        };
        scratch_migrator.server.endpoint = Endpoint::from(scratch);
        scratch_migrator.server.credentials = None;
        "the scratch URL".clone_into(&mut scratch_migrator.server.url_origin);
        scratch_migrator.verify_here(&migrations, &chosen).await
    }

    async fn verify_here(
        &self,
        migrations: &[Migration],
        chosen: &impl Fn(&Migration) -> bool,
    ) -> Result<Verification, MigrateError> {
        let session = self.open().await?;
        let empty = read(&session).await?.is_empty()
            && session.history.read(&session.client).await?.is_empty();
        session.close().await;
        if !empty {
            return Err(MigrateError::NotEmpty {
                database: self.database().to_owned(),
            });
        }
        let session = self.open_and_lock(migrations).await?;
        let mut verified = Vec::new();
        let mut outcome = Ok(());
        for migration in migrations {
            if !chosen(migration) {
                let steps = vec![Step::up(migration, &session)];
                let work = vec![(migration, steps)];
                outcome = self.perform(&session, work, Action::APPLY).await.map(drop);
                if outcome.is_err() {
                    break;
                }
                continue;
            }
            match self.verify_one(&session, migration).await {
                Ok((one, goes_on)) => {
                    verified.push(one);
                    if !goes_on {
                        break;
                    }
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        session.close().await;
        outcome?;
        Ok(Verification {
            migrations: verified,
        })
    }

    /// Verifies one migration. Also returns whether the next ones can be tried.
    async fn verify_one(
        &self,
        session: &MigratorSession,
        migration: &Migration,
    ) -> Result<(VerifiedMigration, bool), MigrateError> {
        let up = async || {
            let steps = vec![Step::up(migration, session)];
            self.perform(session, vec![(migration, steps)], Action::APPLY)
                .await
        };
        let before = read(session).await?;
        up().await?;
        let mut verified = VerifiedMigration {
            version: migration.version.clone(),
            name: migration.name.clone(),
            reversible: migration.down.is_some(),
            left: Vec::new(),
            missing: Vec::new(),
            changed: Vec::new(),
            different_again: Vec::new(),
        };
        if let Some(down) = &migration.down {
            let applied = read(session).await?;
            let steps = vec![Step::down(migration, down, session)];
            self.perform(session, vec![(migration, steps)], Action::REVERT)
                .await?;
            let Differences { new, gone, changed } = before.compare(&read(session).await?);
            (verified.left, verified.missing, verified.changed) = (new, gone, changed);
            if let Err(error) = up().await {
                // The usual cause is an object that `down.sql` has left.
                let problem = format!("up.sql, which cannot run again ({})", error.report());
                verified.different_again.push(problem);
                return Ok((verified, false));
            }
            let Differences { new, gone, changed } = applied.compare(&read(session).await?);
            verified.different_again = [new, gone, changed].concat();
        }
        Ok((verified, true))
    }
}

async fn read(session: &MigratorSession) -> Result<Catalogue, MigrateError> {
    let failed = MigrateError::bookkeeping("read the catalogue");
    Catalogue::read(&session.client).await.map_err(failed)
}

/// Drops the scratch databases that nobody uses any more.
async fn drop_left_over(
    client: &tokio_postgres::Client,
    database: &str,
) -> Result<(), MigrateError> {
    let sql = "SELECT d.datname::text FROM pg_catalog.pg_database d \
               WHERE starts_with(d.datname::text, $1) AND NOT EXISTS \
               (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)";
    let failed = MigrateError::bookkeeping("look for left scratch databases");
    let rows = client
        .query(sql, &[&format!("{database}{SCRATCH}")])
        .await
        .map_err(failed)?;
    for name in rows
        .iter()
        .filter_map(|row| row.try_get::<_, String>(0).ok())
    {
        // Another verification may have just created it, and have no session in it yet.
        if let Err(error) = drop_named(client, &name, false).await {
            tracing::debug!(target: "app_db::migrate", name, %error, "a scratch database stays");
        }
    }
    Ok(())
}

/// The middle of a scratch database's name, between the database's name and a random number.
const SCRATCH: &str = "_dbctl_verify_";
