//! Our pool, bb8 as diesel-async sets it up, and a plain connection, on one database.

use app_db::{Config, Database, Pool};
use diesel::prelude::*;
use diesel::sql_types::Integer;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use harness::TestDatabase;

diesel::table! {
    accounts (id) {
        id -> Int4,
        balance -> Int8,
    }
}

diesel::table! {
    entries (id) {
        id -> Int8,
        account -> Int4,
        amount -> Int8,
    }
}

/// The rows of `accounts`.
pub(crate) const ACCOUNTS: i32 = 1000;

/// Everything that is measured, connected.
pub(crate) struct Contenders {
    /// Dropped last, with its tables.
    db: TestDatabase,
    pub(crate) database: Database,
}

impl Contenders {
    pub(crate) async fn start() -> Self {
        let db = TestDatabase::empty().await.unwrap();
        let tables = format!(
            "create table accounts (id int primary key, balance bigint not null) with (fillfactor = 50); \
             create table entries (id bigserial primary key, account int not null, amount bigint not null); \
             insert into accounts select g, 0 from generate_series(1, {ACCOUNTS}) g; \
             grant all on all tables in schema public to public; \
             grant all on all sequences in schema public to public; analyze"
        );
        db.sql(&tables).await.unwrap();
        let vars = [
            ("APP_ENV", "test"),
            ("DATABASE_URL", &db.url()),
            ("APP_DB__PROFILE__MIN_IDLE", "10"),
            ("APP_DB__PROFILE__MAX", "10"),
            ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "60s"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::load_from(std::path::Path::new("/nonexistent"), vars).unwrap();
        let database = Database::connect(&config).await.unwrap();
        Self { db, database }
    }

    pub(crate) fn pool(&self) -> &Pool {
        self.database.pool("write").unwrap()
    }

    /// Where all of them connect to.
    pub(crate) fn url(&self) -> String {
        self.db.url()
    }

    /// A connection of diesel-async's own, outside any pool.
    pub(crate) async fn plain(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.db.url()).await.unwrap()
    }

    /// bb8 with ten connections: with its defaults, which ask each for a sign of life at every checkout
    /// and take turns among them; or at its fastest, without the question and with the last one first.
    pub(crate) async fn bb8(&self, validates: bool) -> bb8::Pool<Manager> {
        let strategy = match validates {
            true => bb8::QueueStrategy::Fifo,
            false => bb8::QueueStrategy::Lifo,
        };
        bb8::Pool::builder()
            .queue_strategy(strategy)
            .max_size(10)
            .min_idle(10)
            .test_on_check_out(validates)
            .connection_timeout(std::time::Duration::from_secs(60))
            .build(Manager(self.db.url()))
            .await
            .unwrap()
    }
}

/// What diesel-async's own feature `bb8` does.
pub(crate) struct Manager(String);

impl bb8::ManageConnection for Manager {
    type Connection = AsyncPgConnection;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    async fn connect(&self) -> Result<AsyncPgConnection, Self::Error> {
        Ok(AsyncPgConnection::establish(&self.0).await?)
    }

    async fn is_valid(&self, conn: &mut AsyncPgConnection) -> Result<(), Self::Error> {
        let asked = diesel::select(1.into_sql::<Integer>());
        asked.get_result::<i32>(conn).await?;
        Ok(())
    }

    fn has_broken(&self, conn: &mut AsyncPgConnection) -> bool {
        use diesel_async::{AnsiTransactionManager, TransactionManager};
        AnsiTransactionManager::is_broken_transaction_manager(conn)
    }
}

/// Another account each time.
pub(crate) fn some_account() -> i32 {
    fastrand::i32(1..=ACCOUNTS)
}

pub(crate) async fn select(conn: &mut AsyncPgConnection) -> i64 {
    accounts::table
        .find(some_account())
        .select(accounts::balance)
        .first(conn)
        .await
        .unwrap()
}

pub(crate) async fn update(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    diesel::update(accounts::table.find(some_account()))
        .set(accounts::balance.eq(accounts::balance + 1))
        .execute(conn)
        .await
}

/// SELECT .. FOR UPDATE by key, UPDATE, INSERT.
pub(crate) async fn transfer(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    let id = some_account();
    let balance: i64 = accounts::table
        .find(id)
        .select(accounts::balance)
        .for_update()
        .first(conn)
        .await?;
    diesel::update(accounts::table.find(id))
        .set(accounts::balance.eq(balance + 1))
        .execute(conn)
        .await?;
    diesel::insert_into(entries::table)
        .values((entries::account.eq(id), entries::amount.eq(1)))
        .execute(conn)
        .await?;
    Ok(())
}
