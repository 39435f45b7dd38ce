//! Streaming standbys.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::blocking;
use crate::folder::RunFolder;
use crate::server::scalar;
use crate::{Cluster, ClusterOptions, HarnessError, wait_until};

impl Cluster {
    /// Starts a standby that streams from this cluster, in about 300 ms.
    ///
    /// Its name is its `application_name` on the primary, for `synchronous_standby_names`.
    pub async fn replica(&self, name: &str) -> Result<Self, HarnessError> {
        self.replica_with(name, ClusterOptions::default()).await
    }

    /// As [`Cluster::replica`], with settings of its own.
    pub async fn replica_with(
        &self,
        name: &str,
        options: ClusterOptions,
    ) -> Result<Self, HarnessError> {
        let own = self.own("give it a replica")?;
        let folder = RunFolder::create(own.account, "replica")?;
        let data = folder.path().join("data");
        let mut backup = own.account.command(own.binaries.program("pg_basebackup"));
        backup.args([
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
        ]);
        backup
            .args(["-p", &self.port().to_string(), "-D"])
            .arg(&data);
        // Without a `HOME` of its own it would write the caller's password file into the standby's
        // configuration.
        backup
            .env("PGPASSWORD", self.password())
            .env("HOME", folder.path());
        let account = own.account;
        blocking(move || account.run(&mut backup)).await?;
        let options = options
            .setting("cluster_name", name)
            .setting("wal_retrieve_retry_interval", "100ms");
        let laid_out = (Some(Arc::new(folder)), data, self.password().to_owned());
        Self::launch(own.account, own.binaries.clone(), options, laid_out).await
    }

    /// Waits until a standby has replayed everything that its primary has written so far.
    pub async fn caught_up_with(&self, primary: &Self) -> Result<(), HarnessError> {
        let lsn: String = primary
            .scalar("SELECT pg_current_wal_insert_lsn()::text")
            .await?;
        let admin = self.admin().await?;
        let query = format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{lsn}', false)");
        wait_until(
            "the replica has caught up",
            Duration::from_secs(10),
            async || scalar(&admin, &query).await.unwrap_or(false),
        )
        .await;
        Ok(())
    }

    /// Whether it is a standby.
    pub async fn in_recovery(&self) -> Result<bool, HarnessError> {
        self.scalar("SELECT pg_is_in_recovery()").await
    }
}
