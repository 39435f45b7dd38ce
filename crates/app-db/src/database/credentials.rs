//! The methods of the handle for credentials.

use db_config::{Config, Credentials};
use db_pool::{Rotation, plumbing};

use crate::credentials::renewal_handle::Refresh;
use crate::credentials::source::CredentialSource;
use crate::credentials::status::CredentialStatus;
use crate::database::{Database, described};
use crate::error::Error;
use crate::open::opening::Opening;

impl Database {
    /// Like [`Database::connect`], with credentials from the service's own source, whatever `credentials.source`
    /// says.
    ///
    /// # Errors
    ///
    /// As [`Database::connect`], and [`Error::Credentials`] if the source delivers nothing.
    #[track_caller]
    pub fn connect_with_credentials(
        config: &Config,
        source: impl CredentialSource,
    ) -> impl Future<Output = Result<Self, Error>> + Send {
        let described = described(config);
        let opening = Opening::new(config);
        async move {
            let (plan, configured) = described?;
            Ok(Self::opened(
                opening.open(plan, configured.with(source)).await?,
            ))
        }
    }

    /// Replaces the credentials in every pool that logs in as the rotated user.
    ///
    /// If some pools, open or not, already log in as the user of the new credentials, these pools get the new
    /// credentials. Otherwise every pool that uses the write pool's user changes to the new user. First a login
    /// for each pool proves the new credentials. Either all of these pools change, or none.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] if the new credentials do not work. Nothing has changed then.
    ///
    /// Dropping the future early leaves either the old or the new credentials in place, never a mixture.
    pub async fn rotate(&self, credentials: Credentials) -> Result<Rotation, Error> {
        self.pools.rotate(credentials).await
    }

    /// Fetches the credentials and reads the certificates now, instead of when they are due. Call it when a signal
    /// says that they are new.
    ///
    /// If the server has stopped accepting the credentials, it tries all known ones at once.
    ///
    /// # Errors
    ///
    /// [`Error::Credentials`] if the source delivers nothing, [`Error::Pool`] if the server refuses the new
    /// credentials. Nothing has changed then.
    ///
    /// If the future is dropped, the renewal goes on, and nobody learns its outcome.
    pub async fn refresh(&self) -> Result<Refresh, Error> {
        // The renewal may wait for a runtime.
        plumbing::begin(&self.pools.write);
        self.renewal.refresh().await
    }

    /// Where the credentials come from, how old they are, and whether the server accepts them. This never waits.
    #[must_use]
    pub fn credentials(&self) -> CredentialStatus {
        let generation = self.pools.write.status().generation;
        self.pools.keyring.status(generation)
    }
}
