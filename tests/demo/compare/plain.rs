//! diesel-async with bb8, set up as in diesel-async's documentation.

use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::{AsyncConnection, AsyncPgConnection};

use super::bank::{Bank, Failed, Transfer, account, move_money, payment, wait};

/// A pool of ten connections, which is bb8's default.
#[derive(Clone)]
pub(crate) struct Plain(Pool<AsyncPgConnection>);

impl Plain {
    pub(crate) async fn open(url: &str) -> Result<Self, Failed> {
        let config = AsyncDieselConnectionManager::<AsyncPgConnection>::new(url);
        Ok(Self(Pool::builder().build(config).await?))
    }
}

impl Bank for Plain {
    async fn transfer(&self, transfer: Transfer) -> Result<(), Failed> {
        let mut conn = self.0.get().await?;
        let moving = conn.transaction(async |conn| move_money(conn, transfer).await);
        Ok(moving.await?)
    }

    async fn account(&self, id: i64) -> Result<(i64, i64), Failed> {
        let mut conn = self.0.get().await?;
        Ok(account(&mut conn, id).await?)
    }

    async fn payment(&self, id: i64) -> Result<Option<(i64, i64)>, Failed> {
        let mut conn = self.0.get().await?;
        Ok(payment(&mut conn, id).await?)
    }

    async fn question(&self, seconds: f64) -> Result<(), Failed> {
        let mut conn = self.0.get().await?;
        Ok(wait(&mut conn, seconds).await?)
    }

    async fn report(&self, seconds: f64) -> Result<(), Failed> {
        self.question(seconds).await
    }

    /// It has no such call: a service must restart to take a new password.
    async fn told(&self, _user: &str, _password: &str) -> Result<(), Failed> {
        Ok(())
    }
}
