//! The template database that holds the repository's migrations, one per cluster and state of the folder.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use tokio_postgres::Client;

use crate::error::Doing;
use crate::server::{Server, scalar};
use crate::{HarnessError, wait_until};

/// The role that owns what the migrations make; every test's role is a member.
pub(crate) const OWNER: &str = "migrated";

/// One migration: the name of its folder and its SQL.
#[derive(Hash)]
struct Migration {
    name: String,
    up: String,
}

/// Makes the template unless it is there, and returns its name.
pub(crate) async fn template(server: &Server, admin: &Client) -> Result<String, HarnessError> {
    let migrations = read(Path::new(MIGRATIONS))?;
    let mut hasher = DefaultHasher::new();
    migrations.hash(&mut hasher);
    let name = format!("template_{:016x}", hasher.finish());
    if is_ready(admin, &name).await? {
        return Ok(name);
    }
    admin
        .execute("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await?;
    let made = match is_ready(admin, &name).await {
        Ok(false) => make(server, admin, &name, &migrations).await,
        Ok(true) => Ok(()),
        Err(error) => Err(error),
    };
    admin
        .execute("SELECT pg_advisory_unlock($1)", &[&LOCK])
        .await?;
    made.map(|()| name)
}

/// Makes the owner's role unless it is there.
pub(crate) async fn ensure_owner(admin: &Client) -> Result<(), HarnessError> {
    let known = format!("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = '{OWNER}')");
    if !scalar::<bool>(admin, &known).await? {
        let create = format!("CREATE ROLE {OWNER} NOLOGIN");
        if let Err(error) = admin.batch_execute(&create).await {
            // Another process may have made it meanwhile.
            if !scalar::<bool>(admin, &known).await? {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

async fn is_ready(admin: &Client, name: &str) -> Result<bool, HarnessError> {
    let query = format!(
        "SELECT EXISTS (SELECT FROM pg_database WHERE datname = '{name}' AND datistemplate)"
    );
    scalar(admin, &query).await
}

async fn make(
    server: &Server,
    admin: &Client,
    name: &str,
    migrations: &[Migration],
) -> Result<(), HarnessError> {
    ensure_owner(admin).await?;
    admin
        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .await?;
    admin
        .batch_execute(&format!("CREATE DATABASE {name} OWNER {OWNER}"))
        .await?;
    let session = server.admin_of(name).await?;
    session
        .batch_execute(&format!("SET ROLE {OWNER}; {HISTORY}"))
        .await?;
    for migration in migrations {
        let failed = |source| HarnessError::Migration {
            name: migration.name.clone(),
            source,
        };
        session.batch_execute(&migration.up).await.map_err(failed)?;
        let version: String = migration
            .name
            .split('_')
            .next()
            .unwrap_or_default()
            .replace('-', "");
        let insert = "INSERT INTO __diesel_schema_migrations (version) VALUES ($1)";
        session.execute(insert, &[&version]).await.map_err(failed)?;
    }
    drop(session);
    // CREATE DATABASE waits 5 s for a session in its template, and then fails.
    let busy = format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = '{name}')");
    wait_until(
        "the template has no sessions",
        Duration::from_secs(5),
        async || matches!(scalar::<bool>(admin, &busy).await, Ok(false)),
    )
    .await;
    Ok(admin
        .batch_execute(&format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS false IS_TEMPLATE true"
        ))
        .await?)
}

/// The migrations in order of their names.
fn read(folder: &Path) -> Result<Vec<Migration>, HarnessError> {
    let doing = || format!("reading {}", folder.display());
    let mut migrations = Vec::new();
    for entry in fs::read_dir(folder).doing(doing)? {
        let path = entry.doing(doing)?.path();
        let up = path.join("up.sql");
        if up.is_file() {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let up = fs::read_to_string(&up).doing(|| format!("reading {}", up.display()))?;
            migrations.push(Migration { name, up });
        }
    }
    migrations.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(migrations)
}

const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
/// Advisory lock in the database `postgres`; the number has no meaning beyond this file.
const LOCK: i64 = 7_240_001;
const HISTORY: &str = "CREATE TABLE __diesel_schema_migrations (
    version varchar(50) PRIMARY KEY,
    run_on timestamp NOT NULL DEFAULT current_timestamp
)";
