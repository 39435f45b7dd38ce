//! The one connection on which a command takes the lock, runs the migrations and records them.

use std::time::Duration;

use tokio_postgres::{Client, Error};

use crate::migrate::direct_server::DirectServer;
use crate::migrate::error::MigrateError;
use crate::migrate::history::History;
use crate::migrate::lock::LockKey;
use crate::migrate::pooled;

/// An open session with the server itself, and the history that it found there.
pub(super) struct MigratorSession {
    pub(super) client: Client,
    pub(super) history: History,
    abandoned: Abandoned,
}

impl MigratorSession {
    /// Connects, refuses a pooler, and looks for the history table.
    pub(super) async fn open(server: &DirectServer) -> Result<Self, MigrateError> {
        let client = server.connect().await?;
        pooled::refuse(&client, server).await?;
        let failed = MigrateError::bookkeeping("set up the session");
        let abandoned = Abandoned::of(&client, server).await.map_err(failed)?;
        prepare(&client).await?;
        let history = History::find(&client).await?;
        Ok(Self {
            client,
            history,
            abandoned,
        })
    }

    /// Takes the lock of the migrators and creates the history table if it is missing.
    pub(super) async fn lock(&mut self, wait: Duration) -> Result<(), MigrateError> {
        self.lock_key().acquire(&self.client, wait).await?;
        self.history.create(&self.client).await
    }

    /// Ends the session. Closing the connection would release the lock too; releasing it first spares
    /// the next migrator a poll.
    pub(super) async fn close(mut self) {
        let _ = self.lock_key().release(&self.client).await;
        self.abandoned.server = None;
    }

    /// Undoes what a migration may have set, so that the next migration finds the session it expects.
    pub(super) async fn reset(&self) -> Result<(), MigrateError> {
        let failed = MigrateError::bookkeeping("reset the session");
        self.client
            .batch_execute("RESET ALL; RESET ROLE")
            .await
            .map_err(failed)?;
        prepare(&self.client).await
    }

    fn lock_key(&self) -> LockKey {
        LockKey::new(&self.history.database, &self.history.schema)
    }
}

async fn prepare(client: &Client) -> Result<(), MigrateError> {
    let failed = MigrateError::bookkeeping("set up the session");
    client
        .batch_execute(SESSION_SETTINGS)
        .await
        .map_err(failed)?;
    // PostgreSQL before 14 does not know it, and some platforms do not support it. There the server
    // notices a killed migrator only when the statement ends.
    let _ = client
        .batch_execute("SET client_connection_check_interval = '1s'")
        .await;
    Ok(())
}

/// Ends the server's side of a session whose future was dropped.
///
/// The driver of the connection waits for the running statement before it closes, and that statement may
/// rewrite a table. So a second connection terminates the first session. The server then rolls back and
/// releases the lock.
struct Abandoned {
    /// `None` once the session has been closed in order.
    server: Option<DirectServer>,
    pid: i32,
    backend_start: String,
}

impl Abandoned {
    async fn of(client: &Client, server: &DirectServer) -> Result<Self, Error> {
        let row = client
            .query_one(
                "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()",
                &[],
            )
            .await?;
        Ok(Self {
            server: Some(server.clone()),
            pid: row.try_get(0)?,
            backend_start: row.try_get(1)?,
        })
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        // Without a runtime the driver is gone too, and the server notices that the socket is
        // closed.
        let (Some(server), Ok(runtime)) =
            (self.server.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (pid, backend_start) = (self.pid, std::mem::take(&mut self.backend_start));
        runtime.spawn(async move {
            // The start time tells this session from a later one with the same process number.
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE pid = $1 AND backend_start::text = $2";
            let Ok(client) = server.connect().await else {
                return;
            };
            if let Err(error) = client.query(sql, &[&pid, &backend_start]).await {
                tracing::warn!(target: "app_db::migrate", pid, %error, "cannot end the session of an abandoned migration");
            }
        });
    }
}

/// `search_path` stays that of the role, because names are resolved along it. Nothing else may depend on
/// the role. With keepalives, a migrator whose machine dies holds the lock for half a minute and not for
/// two hours.
const SESSION_SETTINGS: &str = "SET TimeZone = 'UTC'; \
    SET idle_in_transaction_session_timeout = '1min'; \
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 4";
