//! deadpool-postgres: tokio-postgres without diesel, its statements kept prepared.

use deadpool_postgres::{ManagerConfig, Pool, PoolError, QueueMode, RecyclingMethod};
use tokio_postgres::{Config, NoTls};

use crate::accounts::some_account;

/// Ten connections with the fastest settings: no ping at checkout, and the last returned connection
/// first.
pub(crate) struct Deadpool(Pool);

impl Deadpool {
    pub(crate) async fn connect(url: &str) -> Self {
        let config: Config = url.parse().unwrap();
        let recycling_method = RecyclingMethod::Fast;
        let manager = ManagerConfig { recycling_method };
        let manager = deadpool_postgres::Manager::from_config(config, NoTls, manager);
        let pool = Pool::builder(manager)
            .max_size(10)
            .queue_mode(QueueMode::Lifo);
        let pool = pool.build().unwrap();
        drop(pool.get().await.unwrap());
        Self(pool)
    }

    /// What [`crate::accounts::transfer`] does in a transaction, in the same SQL.
    pub(crate) async fn transfer(&self) -> Result<(), PoolError> {
        let id = some_account();
        let mut client = self.0.get().await?;
        let transaction = client.transaction().await?;
        let select = transaction.prepare_cached(SELECT).await?;
        let balance: i64 = transaction.query_one(&select, &[&id]).await?.get(0);
        let update = transaction.prepare_cached(UPDATE).await?;
        transaction.execute(&update, &[&(balance + 1), &id]).await?;
        let insert = transaction.prepare_cached(INSERT).await?;
        transaction.execute(&insert, &[&id, &1_i64]).await?;
        transaction.commit().await?;
        Ok(())
    }
}

const SELECT: &str =
    r#"SELECT "accounts"."balance" FROM "accounts" WHERE ("accounts"."id" = $1) FOR UPDATE"#;
const UPDATE: &str = r#"UPDATE "accounts" SET "balance" = $1 WHERE ("accounts"."id" = $2)"#;
const INSERT: &str = r#"INSERT INTO "entries" ("account", "amount") VALUES ($1, $2)"#;
