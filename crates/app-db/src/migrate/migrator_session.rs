//! The one connection on which a command takes the lock, runs the migrations and records them.

use std::time::Duration;

use tokio_postgres::{Client, Error};

use crate::migrate::direct_server::DirectServer;
use crate::migrate::error::MigrateError;
use crate::migrate::history::History;
use crate::migrate::lock::LockKey;
use crate::migrate::pooled;
use crate::migrate::side_table::SideTable;
use crate::migrate::source::Migration;

/// An open session with the server itself, and the history table that it found.
pub(super) struct MigratorSession {
    pub(super) client: Client,
    pub(super) history: History,
    pub(super) side_table: SideTable,
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
        let side_table = SideTable::find(&client, &history).await?;
        Ok(Self {
            client,
            history,
            side_table,
            abandoned,
        })
    }

    /// Takes the lock of the migrators, refuses a second history, and creates the history table if it is
    /// missing.
    pub(super) async fn lock(
        &mut self,
        wait: Duration,
        migrations: &[Migration],
    ) -> Result<(), MigrateError> {
        self.take_lock(wait, migrations).await?;
        self.history.create(&self.client).await?;
        self.side_table = SideTable::find(&self.client, &self.history).await?;
        self.side_table.create(&self.client, &self.history).await
    }

    /// Like [`lock`](Self::lock), but creates nothing.
    pub(super) async fn take_lock(
        &mut self,
        wait: Duration,
        migrations: &[Migration],
    ) -> Result<(), MigrateError> {
        loop {
            self.lock_key().acquire(&self.client, wait).await?;
            // The migrator that had the lock before may have created the history and its schema.
            let history = History::find(&self.client).await?;
            if history.schema == self.history.schema {
                self.history = history;
                break;
            }
            let failed = MigrateError::bookkeeping("release the migrators' lock");
            self.lock_key()
                .release(&self.client)
                .await
                .map_err(failed)?;
            self.history = history;
        }
        self.history
            .refuse_another(&self.client, migrations)
            .await?;
        self.side_table = SideTable::find(&self.client, &self.history).await?;
        Ok(())
    }

    /// Ends the session. Closing the connection would release the lock too, but an early release spares the next
    /// migrator a poll.
    pub(super) async fn close(mut self) {
        let _ = self.lock_key().release(&self.client).await;
        self.abandoned.server = None;
    }

    /// Undoes what a migration may have left in the session, so that the next migration finds a new session. Returns
    /// whether the session still has the migrators' lock.
    pub(super) async fn reset(&self) -> Result<bool, MigrateError> {
        self.clear().await?;
        let failed = MigrateError::bookkeeping("release the locks that a migration has left");
        let key = self.lock_key();
        key.release_others(&self.client).await.map_err(failed)?;
        set_if_known(&self.client).await;
        let failed = MigrateError::bookkeeping("look for the migrators' lock");
        key.is_held(&self.client).await.map_err(failed)
    }

    /// Undoes everything except the session's locks. Also works in a transaction.
    pub(super) async fn clear(&self) -> Result<(), MigrateError> {
        let failed = MigrateError::bookkeeping("reset the session");
        self.client
            .batch_execute(&format!("{CLEAR}; {SESSION_SETTINGS}"))
            .await
            .map_err(failed)
    }

    /// Warns if statements give up before the server would cancel an autovacuum for them.
    pub(super) async fn warn_of_autovacuum(
        &self,
        lock_timeout: Duration,
    ) -> Result<(), MigrateError> {
        let failed = MigrateError::bookkeeping("ask for deadlock_timeout");
        let sql =
            "SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'";
        let row = self.client.query_one(sql, &[]).await;
        let milliseconds: i64 = row.and_then(|row| row.try_get(0)).map_err(failed)?;
        let deadlock_timeout = Duration::from_millis(milliseconds.unsigned_abs());
        if lock_timeout <= deadlock_timeout {
            tracing::warn!(target: "app_db::migrate",
                ?lock_timeout,
                ?deadlock_timeout,
                "a migration gives up before the server ends an autovacuum for it: set \
                 migrations.lock_timeout higher than deadlock_timeout"
            );
        }
        Ok(())
    }

    /// The server process of the session.
    pub(super) fn pid(&self) -> i32 {
        self.abandoned.pid
    }

    /// The definitions of the tables that a run would create first.
    pub(super) fn tables_to_create(&mut self) -> Vec<String> {
        let side_table = self.side_table.missing_definition(&self.history);
        self.history
            .missing_definition()
            .into_iter()
            .chain(side_table)
            .collect()
    }

    /// The expression that takes the migrators' lock, if it is free.
    pub(super) fn try_lock_sql(&self) -> String {
        self.lock_key().try_sql()
    }

    pub(super) fn lock_key(&self) -> LockKey {
        LockKey::new(&self.history.database, &self.history.schema)
    }
}

/// The parts of `DISCARD ALL`, which itself cannot run in a transaction and would release the migrators' lock. The
/// roles come first: the rest may need the rights of the session's own role.
pub(super) const CLEAR: &str = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; CLOSE ALL; DEALLOCATE ALL; \
    UNLISTEN *; DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP";

async fn prepare(client: &Client) -> Result<(), MigrateError> {
    let failed = MigrateError::bookkeeping("set up the session");
    client
        .batch_execute(SESSION_SETTINGS)
        .await
        .map_err(failed)?;
    set_if_known(client).await;
    Ok(())
}

/// Makes the server notice a killed migrator within a second, and a dead machine within half a minute even if rows are
/// on their way. Also lets the session be idle between two attempts. PostgreSQL before 14 does not know all of these
/// settings, and some platforms do not support them; the migrator works without them.
async fn set_if_known(client: &Client) {
    for setting in IF_KNOWN {
        let _ = client.batch_execute(&format!("SET {setting}")).await;
    }
}

const IF_KNOWN: [&str; 3] = [
    "client_connection_check_interval = '1s'",
    "idle_session_timeout = 0",
    "tcp_user_timeout = '30s'",
];

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
        // Without a runtime, the driver is gone too, and the server notices the closed socket.
        let (Some(server), Ok(runtime)) =
            (self.server.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (pid, backend_start) = (self.pid, std::mem::take(&mut self.backend_start));
        runtime.spawn(async move {
            // The start time distinguishes this session from a later one with the same process number.
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

/// The role's `search_path` stays, because names are resolved along it. Nothing else may depend on
/// the role. With keepalives, a migrator whose machine dies holds the lock for half a minute and not for
/// two hours.
pub(super) const SESSION_SETTINGS: &str = "SET TimeZone = 'UTC'; \
    SET idle_in_transaction_session_timeout = '1min'; \
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 4";
