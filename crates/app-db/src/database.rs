//! The handle that services hold.

mod credentials;
mod reports;

use db_pool::plumbing;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use db_config::Config;
use db_pool::{Closed, Connection, Pool};

use crate::credentials::configured::Configured;
use crate::credentials::renewal_handle::RenewalHandle;
use crate::error::Error;
use crate::listener::Listener;
use crate::migrate::{MigrationSource, SchemaState};
use crate::open::opening::{Opened, Opening};
use crate::open::plan::Plan;
use crate::pools::Pools;
use crate::transaction::Transaction;
use crate::transaction::open_transaction::OpenTransaction;
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
    /// If `migrations.migrate_on_start` is on, which dev and test allow, it applies the pending migrations first.
    ///
    /// Before it resolves, it makes the `min_idle` connections of every pool, for at most five seconds
    /// and as far as the server accepts them. The pools make the rest in the background.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] lists every problem of the configuration. [`Error::Pool`] says that the server refused, or
    /// was not reached within five seconds. A replica that is down is no error; [`Database::health`] reports it.
    ///
    /// Dropping the future closes the pools that were opened. Call it inside a tokio runtime.
    #[track_caller]
    pub fn connect(config: &Config) -> impl Future<Output = Result<Self, Error>> + Send + use<> {
        let described = described(config);
        let opening = Opening::new(config);
        async move {
            let (plan, configured) = described?;
            Ok(Self::opened(opening.open(plan, configured.check()?).await?))
        }
    }

    /// Opens the pools without a server, for a service that starts while its server is down.
    ///
    /// The pools connect when they are first used, and make their `min_idle` connections in the background. While
    /// the server is down, a call waits for `checkout_timeout`, and [`Database::health`] says which pool is
    /// unhealthy.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] lists every problem of the configuration. [`Error::Credentials`] says that the
    /// configuration expects a source of credentials from the service's code.
    ///
    /// It never waits, and may be called outside a runtime. The pools then start on the runtime that first uses
    /// them. They ask the source of the credentials there, and logins wait for its first answer.
    pub fn connect_lazy(config: &Config) -> Result<Self, Error> {
        let (plan, configured) = described(config)?;
        let opening = Opening::new(config);
        Ok(Self::opened(opening.open_lazy(plan, configured.check()?)))
    }

    fn opened(opened: Opened) -> Self {
        Self {
            pools: opened.pools,
            migrations: Arc::new(opened.migrations),
            renewal: Arc::new(opened.renewal),
        }
    }

    /// Names the migrations that this service was written for, usually from
    /// [`embed_migrations!`](crate::embed_migrations). Without this call they come from the folder that the
    /// configuration names.
    #[must_use]
    pub fn with_migrations(mut self, migrations: MigrationSource) -> Self {
        self.migrations = Arc::new(migrations);
        self
    }

    /// Whether the schema fits this service's migrations, for a readiness probe.
    ///
    /// It asks through the write pool, needs only SELECT, and takes no lock. A schema that is newer than the service
    /// counts as ready, because an older service has to work with it after a rollback.
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
    /// Writing fails with 25006. Conflicts are retried as in [`Database::write`]; a replica also reports its own
    /// conflicts as 40001.
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

    /// Begins a READ WRITE transaction on the primary, and returns it.
    ///
    /// Nothing runs it again after a conflict, unlike work in [`Database::write`]. It is rolled back unless
    /// [`OpenTransaction::commit`] is called. `db.transaction()..begin()` takes options.
    ///
    /// # Errors
    ///
    /// As [`Transaction::begin`]. Dropping the future loses nothing.
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = Result<OpenTransaction, Error>> + Send + '_ {
        self.transaction().begin()
    }

    /// Begins to describe a transaction on the primary: isolation, attempts, timeouts.
    pub fn transaction(&self) -> Transaction<'_> {
        let pools = &self.pools;
        Transaction::new(&pools.write, pools.retry, &pools.write_budget)
    }

    /// Begins to describe a transaction on another pool, by the name that [`Database::pool`] takes. That pool's
    /// budget pays for its retries.
    ///
    /// On `"read"` the transaction is READ ONLY and runs on a replica if there is one: use it for a snapshot over
    /// several statements.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPool`] names the existing pools.
    pub fn transaction_on(&self, pool: &str) -> Result<Transaction<'_>, Error> {
        let retry = self.pools.retry;
        match pool {
            "write" => Ok(self.transaction()),
            "read" => {
                let (pool, budget) = self.pools.reader();
                Ok(Transaction::new(pool, retry, budget).read_only())
            }
            name => match self.pools.further(name) {
                Some((pool, budget)) => Ok(Transaction::new(pool, retry, budget)),
                None => Err(self.pools.unknown(name)),
            },
        }
    }

    /// Runs work in a transaction of the write pool and always rolls it back.
    ///
    /// This is for tests. Each test sees the database as it found it, and several tests can run on one database at
    /// once. The work runs once, gets a plain `&mut AsyncPgConnection`, and may nest diesel's transactions, which
    /// are savepoints here.
    ///
    /// Without a COMMIT some things never happen: the server does not check deferred constraints
    /// (`SET CONSTRAINTS ALL IMMEDIATE` checks them) and sends no NOTIFY, and the actions of
    /// [`after_commit`](crate::ConnectionExt::after_commit) are dropped. Sequences keep their new values, as after
    /// any rollback.
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

    /// Like [`Database::get`], but waits for the given time instead of `checkout_timeout`. Zero means that it does
    /// not wait.
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

    /// A connection of the write pool, if one is free now. This does not queue.
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
    /// `"read"` is a pool that [`Database::read`] uses: the pool of a replica, a read pool on the primary, or the
    /// write pool.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPool`] names the existing pools.
    pub fn pool(&self, name: &str) -> Result<&Pool, Error> {
        match name {
            "write" => Ok(&self.pools.write),
            "read" => Ok(self.pools.readers.first().unwrap_or(&self.pools.write)),
            _ => match self.pools.further(name) {
                Some((pool, _budget)) => Ok(pool),
                None => Err(self.pools.unknown(name)),
            },
        }
    }

    /// Listens to channels, and returns a stream of their notifications, which reconnects by itself.
    ///
    /// When the server listens, the stream first yields [`Heard::Gap`](crate::Heard::Gap). It yields another one
    /// each time its connection was lost or replaced. Before a gap you may have missed notifications, so look at the
    /// tables that they concern. After it you miss none until the next gap.
    ///
    /// Each call opens its own connection through `DATABASE_URL_DIRECT`, because a pooler does not pass
    /// notifications on. The connection belongs to no pool and does not count against `max`. Neither
    /// [`Database::health`] nor [`Rotation::drained`](crate::Rotation::drained) waits for the holder of the stream:
    /// a rotation replaces the connection at once. Names are used as written, as in `pg_notify`; `LISTEN Orders`
    /// without quotes would be `orders`.
    ///
    /// The stream ends when [`Database::shutdown`] is called, or the last handle of the database is dropped.
    /// Dropping it ends the listening. While nobody reads it, it keeps up to 16,384 notifications, drops further
    /// ones, and reports a gap.
    ///
    /// ```no_run
    /// use app_db::{Database, Error, Heard};
    ///
    /// async fn follow(db: &Database) -> Result<(), Error> {
    ///     let mut orders = db.listen(["orders"]);
    ///     while let Some(heard) = orders.next().await {
    ///         match heard? {
    ///             Heard::Notification(order) => println!("order {}", order.payload),
    ///             _ => println!("look for orders that came meanwhile"),
    ///         }
    ///     }
    ///     Ok(()) // the service shuts down
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The stream yields [`Error::Config`] if there is no direct URL, and [`PoolError::Channels`](crate::PoolError)
    /// for names that no channel can have; both end it. If the server refuses for good, or the URL leads to a
    /// pooler, the stream yields [`PoolError::Connect`](crate::PoolError) and keeps trying. If the server is down,
    /// the stream waits for it and yields no error.
    pub fn listen<C: Into<String>>(&self, channels: impl IntoIterator<Item = C>) -> Listener {
        let channels: Vec<_> = channels.into_iter().map(Into::into).collect();
        let pool = self.pools.listening().map_err(Error::Config);
        Listener::new(pool.and_then(|pool| Ok(plumbing::listen(pool, &channels)?)))
    }

    /// Closes every pool, and ends every listener. Checkouts fail from now on. Work in flight may go on until
    /// `grace` is over; then the pools cancel its statements.
    ///
    /// Dropping the future leaves the pools closed.
    pub async fn shutdown(&self, grace: Duration) -> Closed {
        self.renewal.close();
        self.pools.close(grace).await
    }
}

/// The configured pools, and the source of the credentials of the write pool's user.
fn described(config: &Config) -> Result<(Plan, Configured), Error> {
    let plan = Plan::read(config)?;
    let configured = Configured::read(config, &plan.write.0.user)?;
    Ok((plan, configured))
}
