//! The migrated database from which the tests' databases are copied.

use std::time::{Duration, Instant};

use app_db::db_config::ExposeSecret;
use app_db::{DirectUrl, Migrator};

use crate::admin::Admin;
use crate::error::TestDatabaseError;
use crate::project::Project;

/// There is one for each state of a folder of migrations. The database's comment names the folder, and
/// says that the template is ready.
pub(crate) struct Template(String);

impl Template {
    /// Makes the template unless it exists.
    pub(crate) async fn ready(admin: &Admin, project: &Project) -> Result<Self, TestDatabaseError> {
        let name = format!("{}template_{}", admin.prefix(), project.state()?);
        if !is_ready(admin, &name, project).await? {
            admin.lock(&name).await?;
            let made = match is_ready(admin, &name, project).await {
                // Another process has made it meanwhile.
                Ok(true) => Ok(()),
                Ok(false) => make(admin, &name, project).await,
                Err(error) => Err(error),
            };
            admin.unlock(&name).await?;
            made?;
        }
        Ok(Self(name))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

/// The text of a template's comment.
pub(crate) fn comment(project: &Project) -> String {
    format!("app-db-test: {}", project.migrations().display())
}

async fn is_ready(admin: &Admin, name: &str, project: &Project) -> Result<bool, TestDatabaseError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_database \
        WHERE datname = $1 AND shobj_description(oid, 'pg_database') = $2)";
    admin.ask(sql, &[&name, &comment(project)]).await
}

#[expect(clippy::disallowed_methods, reason = "the URL of a database for tests")]
async fn make(admin: &Admin, name: &str, project: &Project) -> Result<(), TestDatabaseError> {
    admin
        .run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .await?;
    admin.run(&format!("CREATE DATABASE {name}")).await?;
    let mut endpoint = admin.endpoint().clone();
    name.clone_into(&mut endpoint.dbname);
    let url = DirectUrl::parse(endpoint.to_url().expose_secret())?;
    let migrator = Migrator::new(url, project.source());
    Box::pin(migrator.run()).await?;
    // A session in the template makes CREATE DATABASE wait for five seconds and then fail.
    let asked = Instant::now();
    let busy = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1)";
    while admin.ask(busy, &[&name]).await? && asked.elapsed() < PATIENCE {
        tokio::time::sleep(INTERVAL).await;
    }
    admin
        .run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        .await?;
    let comment = comment(project).replace('\'', "''");
    admin
        .run(&format!("COMMENT ON DATABASE {name} IS '{comment}'"))
        .await
}

const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(10);
