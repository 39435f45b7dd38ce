//! The handle that services hold.

use db_pool::plumbing;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use db_config::{Config, Credentials};
use db_pool::{Closed, Connection, Pool, Rotation, StatementStats, Status};

use crate::error::Error;
use crate::health::{Health, PoolHealth};
use crate::open::plan::Plan;
use crate::pools::Pools;
use crate::transaction::Transaction;
use crate::work::Work;

/// A cloneable handle to the database: the write pool, those for reading, and further pools by name.
///
/// One per process is meant (req 2.12); clones share everything.
#[derive(Clone, Debug)]
pub struct Database {
    pools: Arc<Pools>,
}

impl Database {
    /// Opens the pools that the configuration names, and proves the write pool with a connection.
    ///
    /// The `min_idle` connections of every pool are made before it resolves, as far as the server lets them
    /// and five seconds suffice; what is missing then is made in the background.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with every problem; [`Error::Pool`] when the server refuses or is not reached
    /// within five seconds. A replica that is down is reported by [`Database::health`], not here.
    ///
    /// Dropping the future closes what was opened. Must be called within a tokio runtime.
    #[track_caller]
    pub fn connect(config: &Config) -> impl Future<Output = Result<Self, Error>> + Send + use<> {
        let plan = Plan::read(config);
        async move {
            Ok(Self {
                pools: Arc::new(Pools::open(plan?).await?),
            })
        }
    }

    /// Runs work in a READ ONLY transaction, on a replica where one is configured.
    ///
    /// Without a replica it runs on the primary: in the pool `[database.pools.read]` where that is
    /// configured, so that reading and writing do not starve each other, else in the write pool.
    ///
    /// Writing in it fails with 25006 in every environment. Retried like [`Database::write`]; a replica
    /// reports its own conflicts as 40001 too.
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

    /// Runs work in a READ WRITE transaction on the primary; again when it conflicts, with full jitter.
    ///
    /// Never again after a COMMIT whose answer was lost: that is [`Error::CommitUnknown`].
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

    /// Describes a transaction on the primary: isolation, attempts, timeout.
    pub fn transaction(&self) -> Transaction<'_> {
        let pools = &self.pools;
        Transaction::new(&pools.write, pools.retry, &pools.write_budget)
    }

    /// The same on another pool, by its name as for [`Database::pool`], with retries out of a budget of that
    /// pool; `None` where there is no pool of that name.
    ///
    /// On `"read"` it begins as READ ONLY: for a snapshot over several statements, on a replica where there
    /// is one. Must be called within a tokio runtime.
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

    /// Runs work in a transaction on one connection of the write pool and rolls it back, whatever comes of it.
    ///
    /// For tests: each sees the database as it was found, and several can run at once on one database. The
    /// work is run once, gets a plain `&mut AsyncPgConnection`, and may nest transactions of diesel's, which
    /// are savepoints there. What never happens is what waits for a COMMIT: deferred constraints are not
    /// checked (`SET CONSTRAINTS ALL IMMEDIATE` checks them), NOTIFY is not sent, and what was left by
    /// [`after_commit`](crate::ConnectionExt::after_commit) is dropped. Sequences keep their new values, as
    /// they do after any rollback.
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
    /// The work's own; [`Error::Pool`]; [`Error::Unfinished`] when the work has ended the transaction itself,
    /// so that there was nothing left to roll back.
    ///
    /// Dropping the future, or a panic in the work, rolls back as well.
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

    /// The same as [`Database::get`] with a time of its own in the place of `checkout_timeout`; zero means
    /// at once.
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

    /// A connection of the write pool without queueing for it.
    ///
    /// # Errors
    ///
    /// As [`Pool::try_get`]. Dropping the future loses nothing.
    #[track_caller]
    pub fn try_get(&self) -> impl Future<Output = Result<Connection, Error>> + Send + use<> {
        let connection = self.pools.write.try_get();
        async move { Ok(connection.await?) }
    }

    /// A pool by its name in `[database.pools.*]`: `"write"`, `"read"`, or a further one, which is
    /// opened when it is first asked for.
    ///
    /// `"read"` is the pool that the next [`Database::read`] may use: a replica's, one of its own on the
    /// primary, or the write pool. Must be called within a tokio runtime.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        match name {
            "write" => Some(&self.pools.write),
            "read" => Some(self.pools.readers.first().unwrap_or(&self.pools.write)),
            _ => self.pools.further(name).map(|(pool, _)| pool),
        }
    }

    /// Replaces the credentials in every pool whose connections log in as the rotated user.
    ///
    /// These are the pools that use the user of the new credentials, opened or not; or, when no pool does,
    /// those that use the write pool's user, who is replaced by another then. The new credentials are proved for
    /// each of them first: all change, or none.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] when they do not work; nothing has changed then.
    ///
    /// Dropping the future before it resolves leaves either the old credentials or the new ones in place.
    pub async fn rotate(&self, credentials: Credentials) -> Result<Rotation, Error> {
        self.pools.rotate(credentials).await
    }

    /// Probes every open pool at once.
    ///
    /// Takes as long as the slowest probe, at most twice the validation timeout.
    pub async fn health(&self) -> Health {
        let (write, others) = tokio::join!(
            PoolHealth::probe(&self.pools.write),
            futures_util::future::join_all(self.pools.beside_write().map(PoolHealth::probe))
        );
        Health { write, others }
    }

    /// The counts of every open pool at this instant, the write pool first; never waits.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.pools.open_pools().iter().map(Pool::status).collect()
    }

    /// What statements have cost in every open pool by fingerprint, the most expensive first (req 4.33).
    ///
    /// Never waits for a statement; see [`Pool::statements`] for the bounds.
    #[must_use]
    pub fn statements(&self) -> Vec<StatementStats> {
        let pools = self.pools.open_pools();
        let mut statements: Vec<_> = pools.iter().flat_map(Pool::statements).collect();
        statements.sort_by_key(|statement| std::cmp::Reverse(statement.total));
        statements
    }

    /// Forgets what statements have cost until now.
    pub fn reset_statements(&self) {
        self.pools
            .open_pools()
            .iter()
            .for_each(Pool::reset_statements);
    }

    /// Closes every pool: no new checkouts, wait for work in flight until the grace is over, cancel the
    /// rest.
    ///
    /// Dropping the future leaves the pools closed.
    pub async fn shutdown(&self, grace: Duration) -> Closed {
        self.pools.close(grace).await
    }
}
