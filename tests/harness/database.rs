//! A database and a login role for one test.

use std::process;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, Config};

use crate::census::{Backend, Census, backends};
use crate::folder::random_word;
use crate::migrated::{OWNER, ensure_owner, template};
use crate::overheard::keep_secret;
use crate::server::{Server, connect, scalar};
use crate::urls::{through_port, url};
use crate::{Bouncer, Cluster, HarnessError, Proxy};

/// A database of one test, with a login role that owns it; both are removed on drop.
///
/// It costs about 30 ms. The role is also a member of the role that owns the migrated tables.
#[derive(Debug)]
pub struct TestDatabase {
    server: Server,
    name: String,
    role: TestRole,
}

/// A login role of one test.
#[derive(Debug)]
pub struct TestRole {
    name: String,
    /// The last password that was set through this value.
    password: Mutex<String>,
}

impl TestDatabase {
    /// A migrated database on the shared cluster.
    pub async fn create() -> Result<Self, HarnessError> {
        Self::create_on(Cluster::shared().await?).await
    }

    /// A migrated database on another cluster.
    pub async fn create_on(server: &Server) -> Result<Self, HarnessError> {
        let admin = server.admin().await?;
        let template = template(server, &admin).await?;
        Self::clone_of(&template, server, &admin).await
    }

    /// A database without tables on the shared cluster.
    pub async fn empty() -> Result<Self, HarnessError> {
        Self::empty_on(Cluster::shared().await?).await
    }

    /// A database without tables on another cluster.
    pub async fn empty_on(server: &Server) -> Result<Self, HarnessError> {
        let admin = server.admin().await?;
        ensure_owner(&admin).await?;
        Self::clone_of("template1", server, &admin).await
    }

    async fn clone_of(
        template: &str,
        server: &Server,
        admin: &Client,
    ) -> Result<Self, HarnessError> {
        sweep(admin).await?;
        let name = format!("t_{}_{}", process::id(), &random_word()?[..8]);
        // The value comes first, so that its drop removes what a failure leaves behind.
        let database = Self {
            server: server.clone(),
            name: name.clone(),
            role: TestRole::new(&name)?,
        };
        database.role.create(admin).await?;
        let create = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {name}");
        admin.batch_execute(&create).await?;
        Ok(database)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The role that owns it.
    pub fn role(&self) -> &TestRole {
        &self.role
    }

    /// The role's present password.
    pub fn password(&self) -> String {
        self.role.password()
    }

    /// The server it is on.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The role's URL, straight to the server.
    pub fn url(&self) -> String {
        self.url_as(&self.role)
    }

    /// Another role's URL, straight to the server.
    pub fn url_as(&self, role: &TestRole) -> String {
        url(self.server.port(), &self.name, &role.name, &role.password())
    }

    /// The role's URL of a database that does not exist.
    pub fn missing_url(&self) -> String {
        let role = &self.role;
        url(
            self.server.port(),
            "no_such_database",
            &role.name,
            &role.password(),
        )
    }

    /// The role's URL through PgBouncer.
    pub fn pooled_url(&self, bouncer: &Bouncer) -> String {
        through_port(&self.url(), bouncer.port())
    }

    /// The role's URL through a proxy.
    pub fn proxied_url(&self, proxy: &Proxy) -> String {
        through_port(&self.url(), proxy.port())
    }

    /// A session as the role.
    pub async fn connect(&self) -> Result<Client, HarnessError> {
        let mut config = Config::new();
        config
            .dbname(&self.name)
            .user(&self.role.name)
            .password(self.password());
        connect(&mut config, self.server.port()).await
    }

    /// A session as the superuser.
    pub async fn admin(&self) -> Result<Client, HarnessError> {
        self.server.admin_of(&self.name).await
    }

    /// Limits the role's sessions to `most`: the next one is refused with 53300.
    pub async fn limit_connections(&self, most: u32) -> Result<(), HarnessError> {
        let limit = format!("ALTER ROLE {} CONNECTION LIMIT {most}", self.role.name);
        self.server.sql(&limit).await
    }

    /// Runs statements as the superuser.
    pub async fn sql(&self, sql: &str) -> Result<(), HarnessError> {
        Ok(self.admin().await?.batch_execute(sql).await?)
    }

    /// The first column of the first row of a query, asked by the superuser.
    pub async fn scalar<T: FromSqlOwned>(&self, sql: &str) -> Result<T, HarnessError> {
        scalar(&self.admin().await?, sql).await
    }

    /// Changes the role's password on the server; [`url`](Self::url) has the new one from then on.
    pub async fn set_password(&self, password: &str) -> Result<(), HarnessError> {
        self.role.set_password(&self.server, password).await
    }

    /// A second login role with the same rights, removed with the database.
    pub async fn add_role(&self) -> Result<TestRole, HarnessError> {
        let role = TestRole::new(&format!("{}_{}", self.name, &random_word()?[..4]))?;
        let admin = self.server.admin().await?;
        role.create(&admin).await?;
        // A member of the first role owns everything that the first role owns.
        admin
            .batch_execute(&format!("GRANT {} TO {}", self.role.name, role.name))
            .await?;
        Ok(role)
    }

    /// The sessions in this database with an `application_name`, oldest first.
    pub async fn backends(&self, application_name: &str) -> Result<Vec<Backend>, HarnessError> {
        backends(&self.server, &self.name, application_name).await
    }

    /// Counts its sessions from here on.
    pub fn census(&self) -> Census {
        self.census_on(&self.server)
    }

    /// Counts the sessions in its copy on a standby.
    pub fn census_on(&self, server: &Server) -> Census {
        Census::begin(server, &self.name)
    }
}

impl TestRole {
    fn new(name: &str) -> Result<Self, HarnessError> {
        let password = random_word()?;
        keep_secret(name, &password);
        Ok(Self {
            name: name.to_owned(),
            password: Mutex::new(password),
        })
    }

    async fn create(&self, admin: &Client) -> Result<(), HarnessError> {
        let create = format!(
            "CREATE ROLE {} LOGIN PASSWORD '{}' IN ROLE {OWNER}",
            self.name,
            self.password()
        );
        Ok(admin.batch_execute(&create).await?)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its present password.
    pub fn password(&self) -> String {
        self.password
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes its password on the server. It must have only letters and digits, because URLs
    /// contain it as it is.
    pub async fn set_password(&self, server: &Server, password: &str) -> Result<(), HarnessError> {
        server
            .sql(&format!("ALTER ROLE {} PASSWORD '{password}'", self.name))
            .await?;
        password.clone_into(&mut self.password.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A thread of its own works inside and outside of a runtime.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                // If the cluster is down or frozen, its databases go with it.
                let _ = runtime.block_on(async {
                    tokio::time::timeout(PATIENCE, remove(&server, &name)).await
                });
            }
        });
        let _ = dropping.join();
    }
}

async fn remove(server: &Server, name: &str) -> Result<(), HarnessError> {
    remove_by(&server.admin().await?, name).await
}

async fn remove_by(admin: &Client, name: &str) -> Result<(), HarnessError> {
    admin
        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .await?;
    let query = "SELECT rolname::text FROM pg_roles WHERE rolname = $1 OR starts_with(rolname::text, $1 || '_')";
    for row in admin.query(query, &[&name]).await? {
        let role: String = row.get(0);
        admin
            .batch_execute(&format!("DROP ROLE IF EXISTS {role}"))
            .await?;
    }
    Ok(())
}

/// Removes databases whose processes died without dropping them.
async fn sweep(admin: &Client) -> Result<(), HarnessError> {
    let query = "SELECT datname::text FROM pg_database WHERE datname ~ '^t_[0-9]+_[0-9a-f]+$'";
    for row in admin.query(query, &[]).await? {
        let name: String = row.get(0);
        let pid = name
            .split('_')
            .nth(1)
            .and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        if pid.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH)) {
            // Another process may be sweeping it too.
            let _ = remove_by(admin, &name).await;
        }
    }
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(5);
