//! The server that a migrator connects to.

use std::time::Duration;

use db_pool::{Endpoint, connect_client};
use tokio_postgres::Client;

use crate::credentials::configured::Configured;
use crate::migrate::error::MigrateError;

/// The server to migrate, and how to reach it.
#[derive(Clone, Debug)]
pub(super) struct DirectServer {
    pub(super) endpoint: Endpoint,
    /// Where user and password come from, if the migrator logs in as the user of the pools.
    pub(super) credentials: Option<Configured>,
    /// What set the URL, for messages.
    pub(super) url_origin: String,
    /// Whether a proxy in front of the server is accepted.
    pub(super) through_proxy: bool,
}

impl DirectServer {
    /// Logs in with the current credentials of the source. Without a source it uses the URL's.
    pub(super) async fn connect(&self) -> Result<Client, MigrateError> {
        let delivery = match &self.credentials {
            Some(credentials) => credentials.fetch().await?,
            None => None,
        };
        let Some(delivery) = delivery else {
            return self.connect_to(&self.endpoint).await;
        };
        let first = delivery.secret.applied_to(&self.endpoint, false);
        let outcome = self.connect_to(&first).await;
        match (&outcome, delivery.fallback) {
            (Err(MigrateError::Connect { source, .. }), Some(fallback))
                if source.is_refusal_of_credentials() =>
            {
                let second = fallback.applied_to(&self.endpoint, false);
                self.connect_to(&second).await
            }
            _ => outcome,
        }
    }

    async fn connect_to(&self, endpoint: &Endpoint) -> Result<Client, MigrateError> {
        let timeout = endpoint.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        connect_client(endpoint, timeout)
            .await
            .map_err(|source| MigrateError::Connect {
                origin: self.url_origin.clone(),
                source,
            })
    }
}

/// Used if the URL does not set `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
