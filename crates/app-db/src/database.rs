//! The handle that services hold.

use db_pool::plumbing;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use db_config::{Config, Credentials};
use db_pool::{Closed, Connection, Pool, Rotation, StatementStats, Status};

use crate::credentials::configured::Configured;
use crate::credentials::renewal::{Refresh, RenewalHandle};
use crate::credentials::source::CredentialSource;
use crate::credentials::status::CredentialStatus;
use crate::error::Error;
use crate::health::{Health, PoolHealth};
use crate::migrate::{MigrationSource, SchemaState};
use crate::open::opening::{Opened, Opening};
use crate::open::plan::Plan;
use crate::pools::Pools;
use crate::snapshot::Snapshot;
use crate::transaction::Transaction;
use crate::work::Work;

/// A cloneable handle to the database: the write pool, the read pools, and further pools by name.
///
/// A process needs one. Clones share everything.
#[derive(Clone, Debug)]
pub struct Database {
    pools: Arc<Pools>,
    /// What [`Database::schema`] compares the schema with.
    migrations: Arc<MigrationSource>,
    renewal: Arc<RenewalHandle>,
}

impl Database {
    /// Opens the pools that the configuration names, and makes one connection to prove that the write
    /// pool works.
    ///
    /// If `migrations.migrate_on_start` is on, as it may be in dev and test, it applies the pending
    /// migrations first.
    ///
    /// Before it resolves, it makes the `min_idle` connections of every pool, for at most five seconds
    /// and as far as the server accepts them. The pools make the rest in the background.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] lists every problem of the configuration. [`Error::Pool`] says that the server
    /// refused, or was not reached within five seconds. A replica that is down is no error here;
    /// [`Database::health`] reports it.
    ///
    /// Dropping the future closes the pools that were opened. Call it inside a tokio runtime.
    #[track_caller]
    pub fn connect(config: &Config) -> impl Future<Output = Result<Self, Error>> + Send + use<> {
        let plan = Plan::read(config);
        let configured = configured(&plan, config);
        let opening = Opening::new(config);
        async move {
            Ok(Self::opened(
                opening.open(plan?, configured?.check()?).await?,
            ))
        }
    }

    fn opened(opened: Opened) -> Self {
        Self {
            pools: opened.pools,
            migrations: Arc::new(opened.migrations),
            renewal: Arc::new(opened.renewal),
        }
    }

    /// The same with credentials from a source of the service's own, whatever `credentials.source` says.
    ///
    /// # Errors
    ///
    /// As [`Database::connect`], and [`Error::Credentials`] if the source delivers nothing.
    #[track_caller]
    pub fn connect_with_credentials(
        config: &Config,
        source: impl CredentialSource,
    ) -> impl Future<Output = Result<Self, Error>> + Send {
        let plan = Plan::read(config);
        let configured = configured(&plan, config);
        let opening = Opening::new(config);
        async move {
            Ok(Self::opened(
                opening.open(plan?, configured?.with(source)).await?,
            ))
        }
    }

    /// Names the migrations that this service was written for, usually those of
    /// [`embed_migrations!`](crate::embed_migrations). Without it they are those of the folder that the
    /// configuration names.
    #[must_use]
    pub fn with_migrations(mut self, migrations: MigrationSource) -> Self {
        self.migrations = Arc::new(migrations);
        self
    }

    /// Whether the schema is the one that this service was written for, for a readiness probe.
    ///
    /// It asks through the write pool, needs only SELECT, and takes no lock. A schema that is ahead of the
    /// service is ready, because an older service has to live with it after a rollback.
    ///
    /// ```no_run
    /// # async fn probe(db: &app_db::Database) -> Result<(), app_db::Error> {
    /// let schema = db.schema().await?;
    /// if !schema.is_ready() {
    ///     println!("pending: {:?}, edited: {:?}", schema.pending, schema.drifted);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Migrations`] if the files of the migrations cannot be read, [`Error::Pool`] and
    /// [`Error::Query`]. Dropping the future loses nothing.
    pub async fn schema(&self) -> Result<SchemaState, Error> {
        let migrations = self.migrations.read()?;
        let mut conn = self.get().await?;
        Ok(SchemaState::read(&mut conn, &migrations).await?)
    }

    /// Runs work in a READ ONLY transaction, on a replica if one is configured.
    ///
    /// Without a replica it runs on the primary: in the pool `[database.pools.read]` if that is
    /// configured, so that reads and writes do not starve each other, and otherwise in the write pool.
    ///
    /// Writing fails with 25006 in every environment. Conflicts are retried as in [`Database::write`];
    /// a replica reports its own conflicts as 40001 too.
    ///
    /// # Errors
    ///
    /// As [`Transaction::run`]. Dropping the future cancels the statement and rolls back.
    #[track_caller]
    pub fn read<T, E>(
        &self,
        work: impl Work<T, E> + Clone,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<Error> + Send + 'static,
    {
        let (pool, budget) = self.pools.reader();
        let reading = Transaction::new(pool, self.pools.retry, budget).read_only();
        reading.run(work)
    }

    /// Runs work in a READ WRITE transaction on the primary. After a conflict it waits a random time
    /// and runs the work again.
    ///
    /// It never runs the work again after a COMMIT whose answer was lost. That is
    /// [`Error::CommitUnknown`].
    ///
    /// # Errors
    ///
    /// As [`Transaction::run`]. Dropping the future cancels the statement and rolls back.
    #[track_caller]
    pub fn write<T, E>(
        &self,
        work: impl Work<T, E> + Clone,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<Error> + Send + 'static,
    {
        self.transaction().run(work)
    }

    /// Begins to describe a transaction on the primary: isolation, attempts, timeouts.
    pub fn transaction(&self) -> Transaction<'_> {
        let pools = &self.pools;
        Transaction::new(&pools.write, pools.retry, &pools.write_budget)
    }

    /// The same on another pool, by the name that [`Database::pool`] takes. Its retries come out of the
    /// budget of that pool. `None` if there is no pool of that name.
    ///
    /// On `"read"` the transaction is READ ONLY and runs on a replica if there is one: use it for a
    /// snapshot over several statements. Call it inside a tokio runtime.
    #[must_use]
    pub fn transaction_on(&self, pool: &str) -> Option<Transaction<'_>> {
        match pool {
            "write" => Some(self.transaction()),
            "read" => {
                let (pool, budget) = self.pools.reader();
                Some(Transaction::new(pool, self.pools.retry, budget).read_only())
            }
            _ => {
                let (pool, budget) = self.pools.further(pool)?;
                Some(Transaction::new(pool, self.pools.retry, budget))
            }
        }
    }

    /// Runs work in a transaction of the write pool and always rolls it back.
    ///
    /// This is for tests. Each test sees the database as it found it, and several tests can run on one
    /// database at once. The work runs once, gets a plain `&mut AsyncPgConnection`, and may nest
    /// transactions of diesel, which are savepoints here.
    ///
    /// What waits for a COMMIT never happens: deferred constraints are not checked (`SET CONSTRAINTS
    /// ALL IMMEDIATE` checks them), NOTIFY is not sent, and actions left with
    /// [`after_commit`](crate::ConnectionExt::after_commit) are dropped. Sequences keep their new
    /// values, as after any rollback.
    ///
    /// ```no_run
    /// use app_db::{Config, Database, Error};
    /// use diesel::prelude::*;
    /// use diesel_async::{AsyncPgConnection, RunQueryDsl};
    ///
    /// diesel::table! { accounts (id) { id -> BigInt, balance -> BigInt } }
    ///
    /// async fn open(conn: &mut AsyncPgConnection, id: i64) -> QueryResult<usize> {
    ///     let account = (accounts::id.eq(id), accounts::balance.eq(0));
    ///     diesel::insert_into(accounts::table).values(account).execute(conn).await
    /// }
    ///
    /// #[tokio::test]
    /// async fn an_account_is_opened_empty() -> Result<(), Box<dyn std::error::Error>> {
    ///     let db = Database::connect(&Config::load()?).await?;
    ///     let outcome = db.test_transaction(async |conn| {
    ///         open(conn, 7).await?;
    ///         let balance: i64 =
    ///             accounts::table.find(7).select(accounts::balance).first(conn).await?;
    ///         assert_eq!(balance, 0);
    ///         Ok::<_, Error>(())
    ///     });
    ///     Ok(outcome.await?) // the account is gone again
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of the work; [`Error::Pool`]; [`Error::Unfinished`] if the work ended the transaction
    /// itself, so that there was nothing left to roll back.
    ///
    /// Dropping the future rolls back too, and so does a panic in the work.
    #[track_caller]
    pub fn test_transaction<T, E>(
        &self,
        work: impl Work<T, E>,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<Error> + Send,
    {
        self.transaction().run_and_roll_back(work)
    }

    /// A connection of the write pool, for plain diesel-async.
    ///
    /// # Errors
    ///
    /// As [`Pool::get`]. Dropping the future loses nothing.
    #[track_caller]
    pub fn get(&self) -> impl Future<Output = Result<Connection, Error>> + Send + use<> {
        let connection = plumbing::get_for(&self.pools.write, Location::caller());
        async move { Ok(connection.await?) }
    }

    /// Like [`Database::get`], with a deadline of its own instead of `checkout_timeout`. Zero means: at
    /// once or not at all.
    ///
    /// # Errors
    ///
    /// As [`Pool::get_timeout`]. Dropping the future loses nothing.
    #[track_caller]
    pub fn get_timeout(
        &self,
        patience: Duration,
    ) -> impl Future<Output = Result<Connection, Error>> + Send + use<> {
        let connection = self.pools.write.get_timeout(patience);
        async move { Ok(connection.await?) }
    }

    /// A connection of the write pool, if one is free now. It does not queue.
    ///
    /// # Errors
    ///
    /// As [`Pool::try_get`]. Dropping the future loses nothing.
    #[track_caller]
    pub fn try_get(&self) -> impl Future<Output = Result<Connection, Error>> + Send + use<> {
        let connection = self.pools.write.try_get();
        async move { Ok(connection.await?) }
    }

    /// A pool by its name in `[database.pools.*]`: `"write"`, `"read"`, or a further pool. The first
    /// call for a further pool opens it.
    ///
    /// `"read"` is a pool that [`Database::read`] uses: the pool of a replica, a read pool on the primary,
    /// or the write pool. Call it inside a tokio runtime.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        match name {
            "write" => Some(&self.pools.write),
            "read" => Some(self.pools.readers.first().unwrap_or(&self.pools.write)),
            _ => self.pools.further(name).map(|(pool, _)| pool),
        }
    }

    /// Replaces the credentials in every pool that logs in as the rotated user.
    ///
    /// If some pools already log in as the user of the new credentials, those pools get them, opened or
    /// not. Otherwise every pool that uses the user of the write pool changes to the new user. The new
    /// credentials are proved for each pool first, with a login. Either all of these pools change, or
    /// none.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] if the new credentials do not work. Nothing has changed then.
    ///
    /// Dropping the future early leaves either the old credentials in place or the new ones, never a
    /// mixture.
    pub async fn rotate(&self, credentials: Credentials) -> Result<Rotation, Error> {
        self.pools.rotate(credentials).await
    }

    /// Fetches the credentials and reads the certificates now, instead of when they are due: for a signal that says
    /// that they are new.
    ///
    /// Where the server accepts no credentials any more, those that are known are tried at once.
    ///
    /// # Errors
    ///
    /// [`Error::Credentials`] if the source delivers nothing, [`Error::Pool`] if the server accepts none of what is new.
    /// Nothing has changed then.
    ///
    /// Dropping the future gives up the outcome and not the renewal.
    pub async fn refresh(&self) -> Result<Refresh, Error> {
        self.renewal.refresh().await
    }

    /// Where the credentials come from, how old they are, and what the server thinks of them. It never waits.
    #[must_use]
    pub fn credentials(&self) -> CredentialStatus {
        let generation = self.pools.write.status().generation;
        self.pools.keyring.status(generation)
    }

    /// Probes all open pools at the same time.
    ///
    /// It takes as long as the slowest probe, and at most twice the validation timeout.
    pub async fn health(&self) -> Health {
        let (write, others) = tokio::join!(
            PoolHealth::probe(&self.pools.write),
            futures_util::future::join_all(self.pools.beside_write().map(PoolHealth::probe))
        );
        Health { write, others }
    }

    /// The counts of every open pool at this instant, the write pool first. It never waits.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.pools.open_pools().iter().map(Pool::status).collect()
    }

    /// Everything that can be told of every open pool at this instant, the write pool first. It never waits.
    ///
    /// A pool that is closed is not in it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.pools.snapshot()
    }

    /// Every open pool, the write pool first.
    #[must_use]
    pub fn open_pools(&self) -> Vec<Pool> {
        self.pools.open_pools()
    }

    /// What the statements of each open pool have cost, grouped by fingerprint, the most expensive
    /// first.
    ///
    /// It never waits for a statement. [`Pool::statements`] says how many it keeps.
    #[must_use]
    pub fn statements(&self) -> Vec<StatementStats> {
        let pools = self.pools.open_pools();
        let mut statements: Vec<_> = pools.iter().flat_map(Pool::statements).collect();
        statements.sort_by_key(|statement| std::cmp::Reverse(statement.total));
        statements
    }

    /// Forgets what the statements have cost so far.
    pub fn reset_statements(&self) {
        self.pools
            .open_pools()
            .iter()
            .for_each(Pool::reset_statements);
    }

    /// Closes every pool. Checkouts fail from now on. Work in flight may go on until `grace` is over;
    /// then its statements are cancelled.
    ///
    /// Dropping the future leaves the pools closed.
    pub async fn shutdown(&self, grace: Duration) -> Closed {
        self.renewal.close();
        self.pools.close(grace).await
    }
}

/// The source that is configured, for the user of the write pool.
fn configured(plan: &Result<Plan, Error>, config: &Config) -> Result<Configured, Error> {
    let user = plan.as_ref().map_or("", |plan| &plan.write.0.user);
    Ok(Configured::read(config, user)?)
}
