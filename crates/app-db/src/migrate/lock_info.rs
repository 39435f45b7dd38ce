//! The migrators' lock as an operator sees it.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::Error;

use crate::migrate::Migrator;
use crate::migrate::error::MigrateError;
use crate::migrate::migrator_session::MigratorSession;

/// The advisory lock of the migrators of one database and schema.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LockInfo {
    /// The database.
    pub database: String,
    /// The schema of the history.
    pub schema: String,
    /// The role that asks. A run would work as this role.
    pub role: String,
    /// `classid` of the lock in `pg_locks`; the same everywhere.
    pub classid: u32,
    /// `objid` of the lock in `pg_locks`; differs by database and schema.
    pub objid: u32,
    /// The session that has the lock.
    pub holder: Option<LockHolder>,
}

/// The session that has the lock.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LockHolder {
    /// The server process, as in `pg_stat_activity`.
    pub pid: i32,
    /// The session's `application_name`; may be empty.
    pub application_name: String,
    /// Its role. `None` if the asking role may not see it.
    pub user: Option<String>,
    /// The address of its client. `None` on a Unix socket, and if the asking role may not see it.
    pub client: Option<String>,
    /// `active`, `idle`, ..; `None` if the asking role may not see it.
    pub state: Option<String>,
    /// How long the session has lasted, in seconds.
    pub connected_s: Option<i64>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend {}", self.pid)?;
        if self.application_name.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.application_name)
        }
    }
}

impl Migrator {
    /// Which session has the migrators' lock, and under which keys `pg_locks` shows it. This takes no lock.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Connect`], [`MigrateError::Pooled`] and [`MigrateError::Bookkeeping`].
    pub async fn lock_info(&self) -> Result<LockInfo, MigrateError> {
        let session = self.open().await?;
        let info = info(&session).await;
        session.close().await;
        info
    }

    /// Ends the session that has the migrators' lock, and returns it. The server rolls back the migration that
    /// runs there. A migration outside a transaction stays unfinished.
    ///
    /// The role needs the rights of `pg_signal_backend` for a session of another role.
    ///
    /// # Errors
    ///
    /// As [`lock_info`](Self::lock_info). If the future is dropped, the session may have been ended.
    pub async fn force_release(&self) -> Result<Option<LockHolder>, MigrateError> {
        let session = self.open().await?;
        let released = release(&session).await;
        session.close().await;
        released
    }
}

async fn info(session: &MigratorSession) -> Result<LockInfo, MigrateError> {
    let failed = MigrateError::bookkeeping("find the holder of the migrators' lock");
    let key = session.lock_key();
    Ok(LockInfo {
        database: session.history.database.clone(),
        schema: session.history.schema.clone(),
        role: session.history.role.clone(),
        classid: key.classid.cast_unsigned(),
        objid: key.objid.cast_unsigned(),
        holder: holder(session).await.map_err(failed)?,
    })
}

async fn holder(session: &MigratorSession) -> Result<Option<LockHolder>, Error> {
    let Some(holder) = session.lock_key().holder(&session.client).await? else {
        return Ok(None);
    };
    let row = session.client.query_one(SESSION, &[&holder.pid]).await?;
    Ok(Some(LockHolder {
        pid: holder.pid,
        application_name: holder.application_name,
        user: row.try_get(0)?,
        client: row.try_get(1)?,
        state: row.try_get(2)?,
        connected_s: row.try_get(3)?,
    }))
}

async fn release(session: &MigratorSession) -> Result<Option<LockHolder>, MigrateError> {
    let failed = || MigrateError::bookkeeping("end the session that has the migrators' lock");
    let Some(found) = holder(session).await.map_err(failed())? else {
        return Ok(None);
    };
    let end = "SELECT pg_catalog.pg_terminate_backend($1)";
    session
        .client
        .query_one(end, &[&found.pid])
        .await
        .map_err(failed())?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let now = holder(session).await.map_err(failed())?;
        if now.is_none_or(|now| now.pid != found.pid) {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(Some(found))
}

/// How long a session may take to end: it may have to roll back.
const PATIENCE: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(50);

/// The aggregates return a row even if the process has just ended.
const SESSION: &str = "SELECT min(usename::text), min(host(client_addr)), min(state::text), \
     min(extract(epoch FROM clock_timestamp() - backend_start)::bigint) \
     FROM pg_catalog.pg_stat_activity WHERE pid = $1";
