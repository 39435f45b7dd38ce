//! Creates and drops the database itself.

use db_pool::ConnectFailure;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::migrate::Migrator;
use crate::migrate::direct_server::DirectServer;
use crate::migrate::error::MigrateError;
use crate::migrate::pooled;

impl Migrator {
    /// Creates the database of the URL if it is missing, and returns whether it did.
    ///
    /// It connects to the database `postgres` of the same server, or to `template1`. The role needs the right
    /// CREATEDB.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Connect`], [`MigrateError::Pooled`] and [`MigrateError::Bookkeeping`]. If the future is
    /// dropped, the database may or may not exist.
    pub async fn create_database(&self) -> Result<bool, MigrateError> {
        let database = self.database();
        let client = beside(&self.server).await?;
        create_named(&client, database).await
    }

    /// Drops the database of the URL, and returns whether it existed. With `force`, it ends the sessions that
    /// use the database first.
    ///
    /// # Errors
    ///
    /// As [`create_database`](Self::create_database).
    pub async fn drop_database(&self, force: bool) -> Result<bool, MigrateError> {
        let client = beside(&self.server).await?;
        drop_named(&client, self.database(), force).await
    }
}

/// A connection to another database of the same server.
pub(super) async fn beside(server: &DirectServer) -> Result<Client, MigrateError> {
    let mut server = server.clone();
    "postgres".clone_into(&mut server.endpoint.dbname);
    let client = match server.connect().await {
        Err(MigrateError::Connect { source, .. })
            if source.failure() == ConnectFailure::NoSuchDatabase =>
        {
            "template1".clone_into(&mut server.endpoint.dbname);
            server.connect().await?
        }
        connected => connected?,
    };
    pooled::refuse(&client, &server).await?;
    Ok(client)
}

pub(super) async fn create_named(client: &Client, database: &str) -> Result<bool, MigrateError> {
    if exists(client, database).await? {
        return Ok(false);
    }
    let create = format!("CREATE DATABASE {}", quoted(database));
    match client.batch_execute(&create).await {
        Ok(()) => Ok(true),
        // Another session has created it in the same moment.
        Err(error)
            if error.code() == Some(&SqlState::DUPLICATE_DATABASE)
                || error.code() == Some(&SqlState::UNIQUE_VIOLATION) =>
        {
            Ok(false)
        }
        Err(error) => {
            let failed = MigrateError::bookkeeping(format!("create the database {database}"));
            Err(failed(error))
        }
    }
}

pub(super) async fn drop_named(
    client: &Client,
    database: &str,
    force: bool,
) -> Result<bool, MigrateError> {
    if !exists(client, database).await? {
        return Ok(false);
    }
    let force = if force { " WITH (FORCE)" } else { "" };
    let drop = format!("DROP DATABASE IF EXISTS {}{force}", quoted(database));
    let failed = MigrateError::bookkeeping(format!("drop the database {database}"));
    client.batch_execute(&drop).await.map_err(failed)?;
    Ok(true)
}

async fn exists(client: &Client, database: &str) -> Result<bool, MigrateError> {
    let sql = "SELECT FROM pg_catalog.pg_database WHERE datname = $1";
    let failed = MigrateError::bookkeeping(format!("look for the database {database}"));
    let found = client.query_opt(sql, &[&database]).await.map_err(failed)?;
    Ok(found.is_some())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
