//! Our pool, bb8 as diesel-async sets it up, and a plain connection, on one database.

use std::time::Duration;

use app_db::{Config, Database, Environment, Pool, PoolProfile, PooledUrl};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use harness::TestDatabase;

use crate::{accounts, bb8_pool};

/// Everything that is measured, connected.
pub(crate) struct Contenders {
    /// Dropped last, with its tables.
    db: TestDatabase,
    pub(crate) database: Database,
}

impl Contenders {
    pub(crate) async fn start() -> Self {
        let db = accounts::database().await;
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

    /// The URL to which all of them connect.
    pub(crate) fn url(&self) -> String {
        self.db.url()
    }

    /// Our own pool with `connections` connections.
    pub(crate) async fn pool_of(&self, connections: u32) -> Pool {
        let mut profile = PoolProfile::of(&Environment::Test);
        profile.max = connections;
        profile.min_idle = connections;
        profile.checkout_timeout = Duration::from_secs(60);
        let url = PooledUrl::parse(&self.db.url()).unwrap();
        Pool::connect(url, profile).await.unwrap()
    }

    /// A plain diesel-async connection, outside any pool.
    pub(crate) async fn plain(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.db.url()).await.unwrap()
    }

    /// bb8 with ten connections.
    pub(crate) async fn bb8(&self, validates: bool) -> bb8::Pool<bb8_pool::Manager> {
        bb8_pool::connect(&self.db.url(), 10, validates).await
    }
}
