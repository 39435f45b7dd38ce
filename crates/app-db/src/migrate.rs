//! Migrations in diesel's layout and diesel's table, run on the direct URL.
//!
//! Unlike diesel's own runner it lets only one migrator run at a time, retries after a lock timeout, checks
//! every file before it changes anything, and reports errors with file, line and what is left behind.

mod apply;
mod checksum;
mod concurrent_build;
mod concurrent_index;
mod count;
mod direct_server;
mod error;
mod failed_migration;
mod history;
mod holder;
mod layout;
mod lock;
mod lock_wait;
mod lock_watch;
mod migrator_session;
mod options;
mod pooled;
mod repair;
mod report;
mod retry;
mod search_path;
mod settings;
mod side_table;
mod source;
mod statements;
mod step;
mod tokens;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use db_config::{Config, DirectUrl};
use db_pool::Endpoint;

use self::apply::Applier;
use self::direct_server::DirectServer;
pub use self::error::MigrateError;
pub use self::failed_migration::{FailedMigration, LeftBehind};
pub use self::holder::Holder;
pub use self::lock_wait::{Blocker, LockWait};
use self::lock_watch::LockWatch;
use self::migrator_session::MigratorSession;
pub use self::report::{FinishedMigration, MigrationState, MigrationStatus};
use self::settings::MigrationSettings;
pub use self::source::{EmbeddedMigration, MigrationSource};
use self::source::{Migration, reversible};
use self::step::Step;

/// Applies and reverts migrations.
///
/// A migrator has a connection of its own to the server itself. A [`PooledUrl`](db_config::PooledUrl) does
/// not type-check, and a direct URL that leads to a pooler is refused.
///
/// Only one migrator at a time changes a database. The others wait for it and then find nothing left to do.
/// Each migration runs in a transaction together with the record that it has run, unless its
/// `metadata.toml` says `run_in_transaction = false`. A failed migration is rolled back. The migrations
/// before it stay.
///
/// The future of every method may be dropped at any point. The server then rolls back the current migration
/// and releases the lock. A migration outside a transaction keeps the statements that have run, and the next
/// run goes on behind them.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use app_db::{Config, Migrator};
///
/// let migrator = Migrator::from_config(&Config::load()?)?;
/// for migration in migrator.run().await? {
///     println!("applied {}", migration.version);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a migrator does nothing until one of its methods is called"]
pub struct Migrator {
    server: DirectServer,
    source: MigrationSource,
    settings: MigrationSettings,
    allow_out_of_order: bool,
    allow_empty: bool,
    end_idle_blockers: Option<Duration>,
}

impl Migrator {
    /// A migrator with the built-in settings: a lock timeout of 2 s, tried again for 10 min, a statement
    /// timeout of 15 min, and a wait of up to 5 min for another migrator.
    ///
    /// ```compile_fail
    /// use app_db::{MigrationSource, Migrator, PooledUrl};
    ///
    /// let pooled = PooledUrl::parse("postgres://app@localhost/app").unwrap();
    /// let migrator = Migrator::new(pooled, MigrationSource::directory("migrations"));
    /// ```
    pub fn new(url: DirectUrl, source: MigrationSource) -> Self {
        let origin = "the URL given to the migrator".to_owned();
        Self::with_settings(&url, origin, source, MigrationSettings::built_in())
    }

    /// A migrator for the configured direct URL, with the directory and the limits under `migrations`.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Config`] if there is no usable direct URL.
    pub fn from_config(config: &Config) -> Result<Self, MigrateError> {
        let settings: MigrationSettings = config.section("migrations")?;
        let source = MigrationSource::directory(&settings.directory);
        let url = config.direct_url()?;
        let explained = config
            .explain()
            .find(|explained| explained.key == DIRECT_URL);
        let origin = explained.map(|explained| format!("{DIRECT_URL} from {}", explained.origin));
        Ok(Self::with_settings(
            url,
            origin.unwrap_or_default(),
            source,
            settings,
        ))
    }

    fn with_settings(
        url: &DirectUrl,
        url_origin: String,
        source: MigrationSource,
        settings: MigrationSettings,
    ) -> Self {
        let mut endpoint = Endpoint::from(url);
        endpoint
            .application_name
            .get_or_insert_with(|| "app-db migrator".to_owned());
        if endpoint.hosts.len() > 1 {
            // A standby would refuse every migration with 25006.
            endpoint.target_session_attrs = db_config::TargetSessionAttrs::ReadWrite;
        }
        let server = DirectServer {
            endpoint,
            url_origin,
            through_proxy: false,
        };
        Self {
            server,
            source,
            settings,
            allow_out_of_order: false,
            allow_empty: false,
            end_idle_blockers: None,
        }
    }

    /// The name of the database that it migrates.
    pub fn database(&self) -> &str {
        &self.server.endpoint.dbname
    }

    /// Every migration that the source or the server knows, by version. It changes nothing and takes no
    /// lock.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Source`], [`MigrateError::Connect`], [`MigrateError::Pooled`] and
    /// [`MigrateError::Bookkeeping`].
    pub async fn status(&self) -> Result<Vec<MigrationStatus>, MigrateError> {
        let migrations = self.source.load()?;
        let session = self.open().await?;
        let applied = session.history.read(&session.client).await?;
        let notes = session.side_table.read(&session.client).await?;
        session.close().await;
        Ok(report::compare(&migrations, &applied, &notes))
    }

    /// Fails unless every migration of the source is applied. It is for services that must not start
    /// before.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Pending`], [`MigrateError::Drifted`], and the errors of [`status`](Self::status).
    pub async fn assert_up_to_date(&self) -> Result<(), MigrateError> {
        let status = self.status().await?;
        let mut pending = status
            .iter()
            .filter(|migration| migration.state.is_pending());
        let edited = |migration: &&MigrationStatus| migration.state == MigrationState::Drifted;
        match pending.next() {
            None => {
                report::refuse_drift(status.iter().filter(edited).map(|m| (&m.version, &m.name)))
            }
            Some(first) => Err(MigrateError::Pending {
                count: 1 + pending.count(),
                oldest: format!("{}_{}", first.version, first.name),
            }),
        }
    }

    /// Applies all pending migrations in the order of their versions, and returns them.
    ///
    /// # Errors
    ///
    /// The errors of [`status`](Self::status), [`MigrateError::Locked`], [`MigrateError::OutOfOrder`],
    /// [`MigrateError::Drifted`], [`MigrateError::EditedUnfinished`],
    /// [`MigrateError::TwoHistories`], [`MigrateError::LockLost`] and [`MigrateError::Failed`].
    pub async fn run(&self) -> Result<Vec<FinishedMigration>, MigrateError> {
        let migrations = self.source.load()?;
        let session = self.open_and_lock(&migrations).await?;
        let result = self.run_locked(&session, &migrations).await;
        session.close().await;
        result
    }

    /// Reverts the `count` newest applied migrations, newest first, and returns them.
    ///
    /// # Errors
    ///
    /// The errors of [`run`](Self::run). Also [`MigrateError::Irreversible`], before any change, if one
    /// of the migrations has no `down.sql`.
    pub async fn revert(&self, count: u32) -> Result<Vec<FinishedMigration>, MigrateError> {
        let migrations = self.source.load()?;
        let session = self.open_and_lock(&migrations).await?;
        let result = self.revert_locked(&session, &migrations, count).await;
        session.close().await;
        result
    }

    /// Reverts all applied migrations, newest first, and returns them.
    ///
    /// # Errors
    ///
    /// The errors of [`revert`](Self::revert).
    pub async fn revert_all(&self) -> Result<Vec<FinishedMigration>, MigrateError> {
        self.revert(u32::MAX).await
    }

    /// Reverts the newest applied migration and applies it again. Both happen in one transaction,
    /// unless the migration runs outside transactions.
    ///
    /// Returns `None` if no migration is applied.
    ///
    /// # Errors
    ///
    /// The errors of [`revert`](Self::revert).
    pub async fn redo(&self) -> Result<Option<FinishedMigration>, MigrateError> {
        let migrations = self.source.load()?;
        let session = self.open_and_lock(&migrations).await?;
        let result = self.redo_locked(&session, &migrations).await;
        session.close().await;
        result
    }

    async fn run_locked(
        &self,
        session: &MigratorSession,
        migrations: &[Migration],
    ) -> Result<Vec<FinishedMigration>, MigrateError> {
        let applied = session.history.read(&session.client).await?;
        let notes = session.side_table.read(&session.client).await?;
        report::refuse_drift(report::drifted(migrations, &notes).map(|m| (&m.version, &m.name)))?;
        let mut work = Vec::new();
        for migration in migrations
            .iter()
            .filter(|m| !applied.contains_key(&m.version))
        {
            self.refuse_out_of_order(migration, &applied)?;
            work.push((migration, vec![Step::up(migration, session)]));
        }
        self.perform(session, work, "applied").await
    }

    async fn revert_locked(
        &self,
        session: &MigratorSession,
        migrations: &[Migration],
        count: u32,
    ) -> Result<Vec<FinishedMigration>, MigrateError> {
        let applied = session.history.read(&session.client).await?;
        let mut work = Vec::new();
        for version in applied.keys().rev().take(count as usize) {
            let (migration, down) = reversible(migrations, version)?;
            work.push((migration, vec![Step::down(migration, down, session)]));
        }
        self.perform(session, work, "reverted").await
    }

    async fn redo_locked(
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
            .perform(session, vec![(migration, steps)], "redone")
            .await?;
        Ok(finished.pop())
    }

    /// Checks the steps of all migrations first, and then runs them.
    async fn perform(
        &self,
        session: &MigratorSession,
        work: Vec<(&Migration, Vec<Step<'_>>)>,
        done: &'static str,
    ) -> Result<Vec<FinishedMigration>, MigrateError> {
        for (_, steps) in &work {
            steps
                .iter()
                .try_for_each(|step| step.check(self.allow_empty))?;
        }

        if !work.is_empty() {
            let limit = self.settings.lock_timeout;
            session.warn_of_autovacuum(limit).await?;
        }
        let applier = Applier {
            session,
            settings: &self.settings,
            watch: LockWatch::new(&self.server, session.pid(), self.end_idle_blockers),
        };
        let mut finished = Vec::new();
        for (migration, steps) in work {
            let started = Instant::now();
            let result = if migration.run_in_transaction {
                applier.in_transaction(&steps).await
            } else {
                applier.without_transaction(&steps).await
            };
            if let Err(mut error) = result {
                if let MigrateError::Failed(failed) = &mut error {
                    failed.finished_before = finished.len();
                }
                return Err(error);
            }
            let elapsed = started.elapsed();
            let Migration { version, name, .. } = migration.clone();
            tracing::info!(target: "app_db::migrate", version, name, done, elapsed_ms = elapsed.as_millis(), "a migration has run");
            finished.push(FinishedMigration {
                version,
                name,
                elapsed,
            });
            if !session.reset().await? {
                let migration = migration.title();
                return Err(MigrateError::LockLost { migration });
            }
        }
        Ok(finished)
    }

    fn refuse_out_of_order(
        &self,
        migration: &Migration,
        applied: &BTreeMap<String, String>,
    ) -> Result<(), MigrateError> {
        match applied.keys().next_back() {
            Some(newest) if !self.allow_out_of_order && migration.version < *newest => {
                Err(MigrateError::OutOfOrder {
                    version: migration.version.clone(),
                    name: migration.name.clone(),
                    newest: newest.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    async fn open(&self) -> Result<MigratorSession, MigrateError> {
        MigratorSession::open(&self.server).await
    }

    async fn open_and_lock(
        &self,
        migrations: &[Migration],
    ) -> Result<MigratorSession, MigrateError> {
        let mut session = self.open().await?;
        session.lock(self.settings.lock_wait, migrations).await?;
        Ok(session)
    }
}

/// The key under which the configuration explains the URL.
const DIRECT_URL: &str = "database.direct_url";
