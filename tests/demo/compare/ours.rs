//! The same service on app-db, with its built-in settings for production and as many connections as the other side.

use std::path::Path;

use app_db::{Config, Credentials, Database, Error};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;

use super::bank::{Bank, Failed, Transfer, account, move_money, payment, wait};

#[derive(Clone)]
pub(crate) struct Ours(Database);

impl Ours {
    pub(crate) async fn open(url: &str) -> Result<Self, Failed> {
        let variables = [
            ("APP_ENV", "prod"),
            ("DATABASE_URL", url),
            ("APP_DB__PROFILE__MAX", "10"),
            ("APP_DB__POOLS__REPORTS__MAX", "2"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        // A folder without `config/` and `.env`.
        let config = Config::load_from(Path::new("/var/empty/none"), variables)?;
        Ok(Self(Database::connect(&config).await?))
    }
}

impl Bank for Ours {
    async fn transfer(&self, transfer: Transfer) -> Result<(), Failed> {
        let moving = self.0.transaction().resolve_commit();
        let moved: Result<(), Error> = moving
            .run(async |conn| Ok(move_money(conn, transfer).await?))
            .await;
        Ok(moved?)
    }

    async fn account(&self, id: i64) -> Result<(i64, i64), Failed> {
        let found: QueryResult<_> = self.0.read(async |conn| account(conn, id).await).await;
        Ok(found?)
    }

    async fn payment(&self, id: i64) -> Result<Option<(i64, i64)>, Failed> {
        let found: QueryResult<_> = self.0.read(async |conn| payment(conn, id).await).await;
        Ok(found?)
    }

    async fn question(&self, seconds: f64) -> Result<(), Failed> {
        let asking = async |conn: &mut AsyncPgConnection| wait(conn, seconds).await;
        let asked: QueryResult<()> = self.0.read(asking).await;
        Ok(asked?)
    }

    async fn report(&self, seconds: f64) -> Result<(), Failed> {
        let pool = self.0.pool("reports")?;
        let mut conn = pool.get().await?;
        Ok(wait(&mut conn, seconds).await?)
    }

    async fn told(&self, user: &str, password: &str) -> Result<(), Failed> {
        let rotation = self.0.rotate(Credentials::new(user, password)).await?;
        rotation.drained().await;
        Ok(())
    }
}
