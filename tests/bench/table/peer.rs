//! The compared pools, and what each does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use app_db::{Config, ConnectionExt, Database, Pool};
use deadpool_postgres::{ManagerConfig, QueueMode, RecyclingMethod};
use diesel::QueryResult;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use sqlx::Row;
use sqlx::postgres::PgPoolOptions;
use tokio_postgres::NoTls;

use crate::accounts::{self, some_account};
use crate::bb8_pool;
use crate::ways::Way;

/// The repeated work.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    Select,
    Transfer,
    Update,
}

pub(crate) const WORK: [(Work, &str); 3] = [
    (Work::Select, "SELECT by key"),
    (
        Work::Transfer,
        "SELECT FOR UPDATE, UPDATE, INSERT in a transaction",
    ),
    (Work::Update, "autocommit UPDATE"),
];

/// A pool of ten connections.
#[derive(Clone)]
pub(crate) enum Peer {
    /// diesel-async with bb8, as its own feature sets it up, without validation. The others are compared
    /// with it.
    Bb8(bb8::Pool<bb8_pool::Manager>),
    /// Ours with `db.get`.
    Get(Arc<Database>),
    /// Ours with `db.read` and `db.write`.
    Helper(Arc<Database>),
    /// Ours with `db.write`; COMMIT travels with the last statement.
    AndCommit(Arc<Database>),
    Deadpool(deadpool_postgres::Pool),
    Sqlx(sqlx::PgPool),
}

impl Peer {
    pub(crate) async fn all(way: &Way) -> Vec<Self> {
        let database = Arc::new(database(&way.url).await);
        vec![
            Self::Bb8(bb8_pool::connect(&way.url, CONNECTIONS, false).await),
            Self::Get(Arc::clone(&database)),
            Self::Helper(Arc::clone(&database)),
            Self::AndCommit(database),
            Self::Deadpool(deadpool(&way.url)),
            Self::Sqlx(sqlx_pool(&way.url).await),
        ]
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bb8(_) => "diesel-async, bb8",
            Self::Get(_) => "db.get",
            Self::Helper(_) => "db.read, db.write",
            Self::AndCommit(_) => "db.write, and_commit",
            Self::Deadpool(_) => "deadpool-postgres",
            Self::Sqlx(_) => "sqlx",
        }
    }

    /// Whether this peer can do this work: helpers always use a transaction, and a read has nothing to
    /// commit.
    pub(crate) fn does(&self, work: Work) -> bool {
        !matches!(
            (self, work),
            (Self::Helper(_), Work::Update) | (Self::AndCommit(_), Work::Select)
        )
    }

    /// One round.
    pub(crate) async fn run(&self, work: Work) {
        match self {
            Self::Bb8(pool) => {
                let mut conn = pool.get().await.unwrap();
                by_diesel(&mut conn, work).await;
            }
            Self::Get(database) => {
                let mut conn = database.get().await.unwrap();
                by_diesel(&mut conn, work).await;
            }
            Self::Helper(database) => by_helper(database, work).await,
            Self::AndCommit(database) => by_and_commit(database, work).await,
            Self::Deadpool(pool) => by_deadpool(pool, work).await,
            Self::Sqlx(pool) => by_sqlx(pool, work).await,
        }
    }
}

async fn by_diesel(conn: &mut AsyncPgConnection, work: Work) {
    match work {
        Work::Select => {
            accounts::select(conn).await;
        }
        Work::Update => assert_eq!(accounts::update(conn).await, Ok(1)),
        Work::Transfer => {
            let done = conn.transaction(async |conn| accounts::transfer(conn).await);
            done.await.unwrap();
        }
    }
}

async fn by_helper(database: &Database, work: Work) {
    if matches!(work, Work::Transfer) {
        database.write(accounts::transfer).await.unwrap();
    } else {
        let read: QueryResult<i64> = database
            .read(async |conn| Ok(accounts::select(conn).await))
            .await;
        read.unwrap();
    }
}

async fn by_and_commit(database: &Database, work: Work) {
    if matches!(work, Work::Transfer) {
        let transfer = async |conn: &mut AsyncPgConnection| {
            let id = accounts::lock_and_update(conn).await?;
            accounts::enter(conn.and_commit(), id).await
        };
        let done: QueryResult<()> = database.write(transfer).await;
        done.unwrap();
    } else {
        let update = async |conn: &mut AsyncPgConnection| accounts::update(conn.and_commit()).await;
        let updated: QueryResult<usize> = database.write(update).await;
        assert_eq!(updated, Ok(1));
    }
}

async fn by_deadpool(pool: &deadpool_postgres::Pool, work: Work) {
    let (mut client, id) = (pool.get().await.unwrap(), some_account());
    match work {
        Work::Select => {
            let select = client.prepare_cached(SELECT).await.unwrap();
            let _: i64 = client.query_one(&select, &[&id]).await.unwrap().get(0);
        }
        Work::Update => {
            let update = client.prepare_cached(ADD).await.unwrap();
            assert_eq!(client.execute(&update, &[&1_i64, &id]).await.unwrap(), 1);
        }
        Work::Transfer => {
            let transaction = client.transaction().await.unwrap();
            let select = transaction.prepare_cached(LOCK).await.unwrap();
            let balance: i64 = transaction.query_one(&select, &[&id]).await.unwrap().get(0);
            let update = transaction.prepare_cached(UPDATE).await.unwrap();
            transaction
                .execute(&update, &[&(balance + 1), &id])
                .await
                .unwrap();
            let insert = transaction.prepare_cached(INSERT).await.unwrap();
            transaction.execute(&insert, &[&id, &1_i64]).await.unwrap();
            transaction.commit().await.unwrap();
        }
    }
}

async fn by_sqlx(pool: &sqlx::PgPool, work: Work) {
    let id = some_account();
    match work {
        Work::Select => {
            let row = sqlx::query(SELECT).bind(id).fetch_one(pool).await.unwrap();
            let _: i64 = row.get(0);
        }
        Work::Update => {
            let updated = sqlx::query(ADD).bind(1_i64).bind(id).execute(pool).await;
            assert_eq!(updated.unwrap().rows_affected(), 1);
        }
        Work::Transfer => {
            let mut transaction = pool.begin().await.unwrap();
            let conn = &mut *transaction;
            let row = sqlx::query(LOCK)
                .bind(id)
                .fetch_one(&mut *conn)
                .await
                .unwrap();
            let balance: i64 = row.get(0);
            let update = sqlx::query(UPDATE).bind(balance + 1).bind(id);
            update.execute(&mut *conn).await.unwrap();
            let insert = sqlx::query(INSERT).bind(id).bind(1_i64);
            insert.execute(&mut *conn).await.unwrap();
            transaction.commit().await.unwrap();
        }
    }
}

/// Ours with ten open connections.
pub(crate) async fn database(url: &str) -> Database {
    let database = Database::connect(&config(url, 10)).await.unwrap();
    // The pool fills itself in the background.
    let all = (0..CONNECTIONS).map(|_| database.get());
    drop(futures_util::future::join_all(all).await);
    database
}

/// Our configuration, with `min_idle` connections kept ready.
pub(crate) fn config(url: &str, min_idle: u32) -> Config {
    let vars = [
        ("APP_ENV", "test"),
        ("DATABASE_URL", url),
        ("APP_DB__PROFILE__MIN_IDLE", &min_idle.to_string()),
        ("APP_DB__PROFILE__MAX", &CONNECTIONS.to_string()),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "60s"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::load_from(Path::new("/nonexistent"), vars).unwrap()
}

/// deadpool-postgres with its fastest setting: no ping at checkout.
pub(crate) fn deadpool(url: &str) -> deadpool_postgres::Pool {
    let config: tokio_postgres::Config = url.parse().unwrap();
    let recycling_method = RecyclingMethod::Fast;
    let manager = ManagerConfig { recycling_method };
    let manager = deadpool_postgres::Manager::from_config(config, NoTls, manager);
    let pool = deadpool_postgres::Pool::builder(manager)
        .max_size(CONNECTIONS as usize)
        .queue_mode(QueueMode::Lifo);
    pool.build().unwrap()
}

/// sqlx with its fastest setting too, and with its connections open.
async fn sqlx_pool(url: &str) -> sqlx::PgPool {
    sqlx_options()
        .min_connections(CONNECTIONS)
        .connect(url)
        .await
        .unwrap()
}

/// The same before it has connected.
pub(crate) fn sqlx_lazy(url: &str) -> sqlx::PgPool {
    sqlx_options().connect_lazy(url).unwrap()
}

fn sqlx_options() -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(60))
}

/// Our pool, before it has connected.
pub(crate) fn lazy(url: &str) -> Pool {
    let profile = app_db::PoolProfile::from_config(&config(url, 0), "write").unwrap();
    Pool::connect_lazy(app_db::PooledUrl::parse(url).unwrap(), profile)
}

pub(crate) const CONNECTIONS: u32 = 10;
pub(crate) const SELECT: &str =
    r#"SELECT "accounts"."balance" FROM "accounts" WHERE ("accounts"."id" = $1)"#;
const LOCK: &str =
    r#"SELECT "accounts"."balance" FROM "accounts" WHERE ("accounts"."id" = $1) FOR UPDATE"#;
const UPDATE: &str = r#"UPDATE "accounts" SET "balance" = $1 WHERE ("accounts"."id" = $2)"#;
const ADD: &str =
    r#"UPDATE "accounts" SET "balance" = ("accounts"."balance" + $1) WHERE ("accounts"."id" = $2)"#;
const INSERT: &str = r#"INSERT INTO "entries" ("account", "amount") VALUES ($1, $2)"#;
