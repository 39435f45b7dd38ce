//! How to reach a server as its superuser.

use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, Config, NoTls};

use crate::HarnessError;
use crate::beside::{beside, done_beside};
use crate::urls::url;

/// Port and superuser of a running cluster.
#[derive(Clone)]
pub struct Server {
    port: u16,
    password: String,
}

impl Server {
    pub(crate) fn new(port: u16, password: String) -> Self {
        Self { port, password }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of the superuser `postgres`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A superuser's URL of a database.
    pub fn url(&self, database: &str) -> String {
        url(self.port, database, "postgres", &self.password)
    }

    /// A superuser's session in the database `postgres`.
    pub async fn admin(&self) -> Result<Client, HarnessError> {
        self.admin_of("postgres").await
    }

    /// A superuser's session in a database.
    pub async fn admin_of(&self, database: &str) -> Result<Client, HarnessError> {
        connect(
            Config::new()
                .dbname(database)
                .user("postgres")
                .password(&self.password),
            self.port,
        )
        .await
    }

    /// Runs statements as the superuser in the database `postgres`.
    pub async fn sql(&self, sql: &str) -> Result<(), HarnessError> {
        Ok(self.admin().await?.batch_execute(sql).await?)
    }

    /// The first column of the first row of a query in the database `postgres`.
    pub async fn scalar<T: FromSqlOwned>(&self, sql: &str) -> Result<T, HarnessError> {
        scalar(&self.admin().await?, sql).await
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Connects to 127.0.0.1 without TLS and drives the connection on a task that ends with the client.
pub(crate) async fn connect(config: &mut Config, port: u16) -> Result<Client, HarnessError> {
    config
        .host("127.0.0.1")
        .port(port)
        .application_name("harness")
        .connect_timeout(CONNECT_TIMEOUT);
    let config = config.clone();
    done_beside(async move {
        let (client, connection) = config.connect(NoTls).await?;
        // A failed connection shows in the client's next query.
        beside(async move { connection.await.ok() });
        Ok(client)
    })
    .await
}

pub(crate) async fn scalar<T: FromSqlOwned>(client: &Client, sql: &str) -> Result<T, HarnessError> {
    let row = client.query_opt(sql, &[]).await?;
    Ok(row
        .ok_or_else(|| HarnessError::NoRow(sql.to_owned()))?
        .try_get(0)?)
}

const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
