//! What an application needs to run: a database `app` behind its two URLs.

use crate::folder::random_word;
use crate::{
    Bouncer, BouncerOptions, Cluster, ClusterOptions, HarnessError, Stop, through_port, url,
};

/// A cluster with a database and a role `app`, and a PgBouncer in front if one is wanted.
#[derive(Debug)]
pub struct AppServers {
    // Stopped first.
    bouncer: Option<Bouncer>,
    cluster: Cluster,
    password: String,
}

impl AppServers {
    /// Starts them, and gives the role this password or a new one. Creates the database if it does not exist. The role
    /// may create databases, because `dbctl migrate verify` does so.
    pub async fn start(
        cluster: ClusterOptions,
        bouncer: Option<BouncerOptions>,
        password: Option<String>,
    ) -> Result<Self, HarnessError> {
        let password = password.map_or_else(random_word, Ok)?;
        let cluster = Cluster::start(cluster).await?;
        let admin = cluster.admin().await?;
        if admin
            .query_opt("SELECT FROM pg_database WHERE datname = 'app'", &[])
            .await?
            .is_none()
        {
            admin.batch_execute("CREATE ROLE app LOGIN").await?;
            admin.batch_execute("CREATE DATABASE app OWNER app").await?;
        }
        admin
            .batch_execute(&format!("ALTER ROLE app CREATEDB PASSWORD '{password}'"))
            .await?;
        let bouncer = match bouncer {
            Some(options) => Some(Bouncer::start(&cluster, options).await?),
            None => None,
        };
        Ok(Self {
            bouncer,
            cluster,
            password,
        })
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The PgBouncer, if there is one.
    pub fn bouncer(&self) -> Option<&Bouncer> {
        self.bouncer.as_ref()
    }

    /// The password of the role `app`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// `DATABASE_URL`: through PgBouncer if there is one.
    pub fn pooled_url(&self) -> String {
        let port = self
            .bouncer
            .as_ref()
            .map_or(self.cluster.port(), Bouncer::port);
        through_port(&self.direct_url(), port)
    }

    /// `DATABASE_URL_DIRECT`: straight to the server.
    pub fn direct_url(&self) -> String {
        url(self.cluster.port(), "app", "app", &self.password)
    }

    /// Both URLs as environment variables.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("DATABASE_URL", self.pooled_url()),
            ("DATABASE_URL_DIRECT", self.direct_url()),
        ]
    }

    /// Stops the servers. The cluster writes its data to disk.
    pub async fn stop(self) -> Result<(), HarnessError> {
        drop(self.bouncer);
        self.cluster.stop(Stop::Fast).await
    }
}
