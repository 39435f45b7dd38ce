//! A session beside the tests, which creates and drops databases.

use std::time::Duration;

use app_db::Endpoint;
use app_db::db_pool::connect_client;
use tokio_postgres::Client;
use tokio_postgres::types::{FromSqlOwned, ToSql};

use crate::error::TestDatabaseError;

/// The session, and the prefix of the names that belong to it.
pub(crate) struct Admin {
    client: Client,
    /// The endpoint of the session's database.
    endpoint: Endpoint,
    prefix: String,
}

impl Admin {
    /// Connects to the database that the URL names, or to `postgres` if the server has no such database.
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, TestDatabaseError> {
        let mut endpoint = endpoint.clone();
        let client = match connect_client(&endpoint, CONNECT_TIMEOUT).await {
            Err(error)
                if error
                    .sqlstate()
                    .is_some_and(|state| state.code() == NO_DATABASE) =>
            {
                "postgres".clone_into(&mut endpoint.dbname);
                connect_client(&endpoint, CONNECT_TIMEOUT).await?
            }
            connected => connected?,
        };
        let mut admin = Self {
            client,
            endpoint,
            prefix: String::new(),
        };
        // Locks belong to one database, so only processes that use this database may sweep what is named after it.
        let place: String = admin
            .ask("SELECT substr(md5(current_database()), 1, 8)", &[])
            .await?;
        admin.prefix = format!("app_db_test_{place}_");
        Ok(admin)
    }

    /// The prefix of all databases that are made here.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<(), TestDatabaseError> {
        let done = self.client.batch_execute(sql).await;
        done.map_err(|source| TestDatabaseError::Server {
            doing: sql.to_owned(),
            source,
        })
    }

    /// Asks for one row, and returns its first column.
    pub(crate) async fn ask<T: FromSqlOwned>(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<T, TestDatabaseError> {
        let answered = self.client.query_one(sql, values).await;
        answered
            .and_then(|row| row.try_get(0))
            .map_err(|source| TestDatabaseError::Server {
                doing: sql.to_owned(),
                source,
            })
    }

    /// Waits until nobody else has the lock on a name, and holds it until [`Admin::unlock`] or the session's end.
    pub(crate) async fn lock(&self, name: &str) -> Result<(), TestDatabaseError> {
        self.ask::<String>(
            "SELECT pg_advisory_lock($1, hashtext($2))::text",
            &[&LOCKS, &name],
        )
        .await
        .map(drop)
    }

    /// Takes the lock on a name if nobody has it. Returns whether this session has it now.
    pub(crate) async fn try_lock(&self, name: &str) -> Result<bool, TestDatabaseError> {
        self.ask(
            "SELECT pg_try_advisory_lock($1, hashtext($2))",
            &[&LOCKS, &name],
        )
        .await
    }

    pub(crate) async fn unlock(&self, name: &str) -> Result<(), TestDatabaseError> {
        self.ask::<bool>(
            "SELECT pg_advisory_unlock($1, hashtext($2))",
            &[&LOCKS, &name],
        )
        .await
        .map(drop)
    }

    pub(crate) fn into_parts(self) -> (Client, Endpoint) {
        (self.client, self.endpoint)
    }
}

/// Drops a database in a session of its own.
pub(crate) async fn drop_database(server: &Endpoint, name: &str) -> Result<(), TestDatabaseError> {
    let admin = Admin::connect(server).await?;
    admin
        .run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .await
}

/// Distinguishes these locks from all others.
const LOCKS: i32 = 0x6170_7462;
const NO_DATABASE: &str = "3D000";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
