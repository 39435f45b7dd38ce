//! The server that a migrator connects to.

use std::time::Duration;

use db_pool::{Endpoint, connect_client};
use tokio_postgres::Client;

use crate::migrate::error::MigrateError;

/// The server to migrate, and how to reach it.
#[derive(Clone, Debug)]
pub(super) struct DirectServer {
    pub(super) endpoint: Endpoint,
    /// What set the URL, for messages.
    pub(super) url_origin: String,
    /// Whether a proxy in front of the server is accepted.
    pub(super) through_proxy: bool,
}

impl DirectServer {
    pub(super) async fn connect(&self) -> Result<Client, MigrateError> {
        let timeout = self.endpoint.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        connect_client(&self.endpoint, timeout)
            .await
            .map_err(|source| MigrateError::Connect {
                origin: self.url_origin.clone(),
                source,
            })
    }
}

/// Used if the URL does not set `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
