//! Migrations in diesel's layout and diesel's table, run on the direct URL.
//!
//! Unlike diesel's own runner, it lets only one migrator run at a time, retries after a lock timeout, and checks
//! every file before it changes anything. Its errors name the file, the line and what is left behind.

mod apply;
mod approved_plan;
mod back;
mod baseline;
mod catalogue;
mod checksum;
mod columns;
mod concurrent_build;
mod concurrent_index;
mod count;
mod damage;
mod database;
mod destructive;
mod diesel_source;
mod diesel_toml;
mod direct_server;
mod effect;
mod error;
mod event;
mod failed_migration;
mod file_statement;
mod history;
mod holder;
mod layout;
mod lock;
mod lock_info;
mod lock_wait;
mod lock_watch;
mod metadata;
mod migrator_session;
mod notes;
mod options;
mod plan;
mod pooled;
mod remedy;
mod repair;
mod report;
mod retry;
mod run;
mod schema_state;
mod script;
mod search_path;
mod selection;
mod settings;
mod side_table;
mod source;
mod statements;
mod step;
mod tokens;
mod verify;
mod wait;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use db_config::{Config, DirectUrl};
use db_pool::Endpoint;

use crate::credentials::configured::Configured;

pub use self::approved_plan::ApprovedPlan;
use self::back::Back;
pub use self::columns::Column;
pub use self::damage::Damage;
use self::direct_server::DirectServer;
pub use self::effect::lock_mode::LockMode;
pub use self::error::MigrateError;
use self::event::Listener;
pub use self::event::MigrationEvent;
pub use self::failed_migration::{FailedMigration, LeftBehind};
pub use self::file_statement::FileStatement;
pub use self::holder::Holder;
pub use self::lock_info::{LockHolder, LockInfo};
pub use self::lock_wait::{Blocker, LockWait};
pub use self::metadata::Phase;
use self::migrator_session::MigratorSession;
pub use self::plan::planned::{
    PlannedMigration, PlannedRelation, PlannedStatement, Rehearsed, RehearsedLock,
};
pub use self::report::{ChecksumState, FinishedMigration, MigrationState, MigrationStatus};
pub use self::schema_state::SchemaState;
use self::selection::Selection;
use self::settings::MigrationSettings;
pub use self::source::{EmbeddedMigration, Migration, MigrationSource};
pub use self::verify::{Verification, VerifiedMigration};

/// Applies and reverts migrations.
///
/// A migrator has its own connection to the server itself. A [`PooledUrl`](db_config::PooledUrl) does not
/// type-check, and a direct URL that leads to a pooler is refused.
///
/// Only one migrator at a time changes a database. The others wait for it and then find nothing left to do.
/// Each migration runs in a transaction together with the record that it has run, unless its
/// `metadata.toml` says `run_in_transaction = false`. A failed migration is rolled back. The migrations
/// before it stay.
///
/// The future of every method may be dropped at any point. The server then rolls back the current migration and
/// releases the lock. A migration outside a transaction keeps the statements that have run, and the next run
/// continues after them.
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
#[derive(Clone, Debug)]
#[must_use = "a migrator does nothing until one of its methods is called"]
pub struct Migrator {
    server: DirectServer,
    source: MigrationSource,
    settings: MigrationSettings,
    selection: Selection,
    approved: Option<ApprovedPlan>,
    allow_empty: bool,
    end_idle_blockers: Option<Duration>,
    listener: Listener,
}

impl Migrator {
    /// A migrator with the built-in settings: a lock timeout of 2 s, retries for 10 min, a statement timeout of 15
    /// min, and a wait of up to 5 min for another migrator.
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
    /// If no setting names the directory, `diesel.toml` may name it. In production, one run does not apply both
    /// phases of a deploy; see [`allow_both_phases`](Self::allow_both_phases).
    ///
    /// If the direct URL has the same user as the pooled one, the migrator asks the source of the credentials
    /// (`database.credentials`) before each login, also late in a run. Another user logs in with the password of
    /// the direct URL.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Config`] if there is no usable direct URL.
    pub fn from_config(config: &Config) -> Result<Self, MigrateError> {
        let settings: MigrationSettings = config.section("migrations")?;
        let source = MigrationSource::directory(Self::configured_directory(config)?);
        let url = config.direct_url()?;
        let explained = config
            .explain()
            .find(|explained| explained.key == DIRECT_URL);
        let origin = explained.map(|explained| format!("{DIRECT_URL} from {}", explained.origin));
        let origin = origin.unwrap_or_default();
        let mut migrator = Self::with_settings(url, origin, source, settings);
        let user = migrator.server.endpoint.user.clone();
        let of_pools = config.pooled_url().ok().map(Endpoint::from);
        if of_pools.is_none_or(|pools| pools.user == user) {
            let credentials = Configured::read(config, &user).map_err(MigrateError::Config)?;
            migrator.server.credentials = Some(credentials);
        }
        migrator.selection.one_phase = config.environment().is_production();
        Ok(migrator)
    }

    /// A migrator for a service that starts, if `migrations.migrate_on_start` is on.
    pub(crate) fn on_start(config: &Config) -> Result<Option<Self>, MigrateError> {
        let settings: MigrationSettings = config.section("migrations")?;
        let migrates = settings.migrate_on_start;
        migrates.then(|| Self::from_config(config)).transpose()
    }

    /// Takes the source of credentials from the pools, if this migrator's user has one.
    pub(crate) fn sourced_as(mut self, pools: &Configured) -> Self {
        if let Some(credentials) = &mut self.server.credentials {
            *credentials = pools.clone();
        }
        self
    }

    /// The folder of the migrations, as the configuration or else `diesel.toml` names it.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Config`], and [`MigrateError::Source`] if `diesel.toml` is not understood.
    pub fn configured_directory(config: &Config) -> Result<PathBuf, MigrateError> {
        let settings: MigrationSettings = config.section("migrations")?;
        let is_built_in = config.explain().any(|explained| {
            explained.key == DIRECTORY && explained.origin.to_string().starts_with("built-in")
        });
        let diesels = if is_built_in {
            diesel_toml::migrations_directory()?
        } else {
            None
        };
        Ok(diesels.unwrap_or(settings.directory))
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
            credentials: None,
            url_origin,
            through_proxy: false,
        };
        Self {
            server,
            source,
            settings,
            selection: Selection::default(),
            approved: None,
            allow_empty: false,
            end_idle_blockers: None,
            listener: Listener::default(),
        }
    }

    /// The name of the database to migrate.
    pub fn database(&self) -> &str {
        &self.server.endpoint.dbname
    }

    /// Every migration that the source or the server knows, by version. This changes nothing and takes no lock.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Source`], [`MigrateError::Connect`], [`MigrateError::Pooled`] and
    /// [`MigrateError::Bookkeeping`].
    pub async fn status(&self) -> Result<Vec<MigrationStatus>, MigrateError> {
        let migrations = self.source.read()?;
        let session = self.open().await?;
        let applied = session.history.read(&session.client).await?;
        let notes = session.side_table.read(&session.client).await?;
        session.close().await;
        Ok(report::compare(&migrations, &applied, &notes))
    }

    /// Fails unless every migration of the source is applied. Use it in a service that must not start earlier.
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
    /// [`MigrateError::TwoHistories`], [`MigrateError::LockLost`] and [`MigrateError::Failed`]. Also
    /// [`MigrateError::UnknownVersion`], [`MigrateError::AlreadyBeyond`], [`MigrateError::ExpandFirst`] and
    /// [`MigrateError::BothPhases`] and [`MigrateError::NotAsPlanned`], before any change.
    pub async fn run(&self) -> Result<Vec<FinishedMigration>, MigrateError> {
        let migrations = self.source.read()?;
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
        self.go_back(Back::Count(count as usize)).await
    }

    /// Reverts all migrations that are newer than `version`, newest first, and returns them. `version` itself
    /// stays applied, and may be written as in the name of the directory.
    ///
    /// # Errors
    ///
    /// The errors of [`revert`](Self::revert). Also [`MigrateError::UnknownVersion`], and
    /// [`MigrateError::Irreversible`] if `version` is not applied.
    pub async fn revert_to(&self, version: &str) -> Result<Vec<FinishedMigration>, MigrateError> {
        self.go_back(Back::To(version)).await
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
        let migrations = self.source.read()?;
        let session = self.open_and_lock(&migrations).await?;
        let result = self.redo_locked(&session, &migrations).await;
        session.close().await;
        result
    }

    async fn go_back(&self, back: Back<'_>) -> Result<Vec<FinishedMigration>, MigrateError> {
        let migrations = self.source.read()?;
        let session = self.open_and_lock(&migrations).await?;
        let result = self.revert_locked(&session, &migrations, back).await;
        session.close().await;
        result
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

/// The keys under which the configuration explains the URL and the folder.
const DIRECT_URL: &str = "database.direct_url";
const DIRECTORY: &str = "database.migrations.directory";
