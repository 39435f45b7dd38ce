//! Watches from a second session which sessions block a migration.
//!
//! The session of the migration is busy while it waits, so it cannot ask. The migrator opens the second
//! session when a statement first takes long. If the server has no connection left, the migration goes on
//! unwatched.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio_postgres::{Client, Error, Row};

use crate::migrate::direct_server::DirectServer;
use crate::migrate::event::{Listener, MigrationEvent};
use crate::migrate::lock_wait::{Blocker, LockWait};

/// Observes which locks one session waits for.
pub(super) struct LockWatch {
    server: DirectServer,
    /// The watched server process.
    pid: i32,
    /// The watch ends blocking sessions that have been idle in a transaction for this long.
    end_idle_blockers: Option<Duration>,
    listener: Listener,
    watcher: Mutex<Watcher>,
}

/// The second session, and what it last saw.
#[derive(Default)]
struct Watcher {
    client: Option<Client>,
    unavailable: bool,
    seen: Option<LockWait>,
    reported: Option<LockWait>,
    phase: Option<String>,
}

impl LockWatch {
    pub(super) fn new(
        server: &DirectServer,
        pid: i32,
        end_idle_blockers: Option<Duration>,
        listener: Listener,
    ) -> Self {
        Self {
            server: server.clone(),
            pid,
            end_idle_blockers,
            listener,
            watcher: Mutex::default(),
        }
    }

    /// Runs a statement of the watched session, and watches meanwhile what it waits for.
    pub(super) async fn during<T>(
        &self,
        lock_timeout: Option<Duration>,
        statement: impl Future<Output = T>,
    ) -> T {
        // A short lock timeout needs an early look.
        let first = lock_timeout.map_or(LOOK_EVERY, |limit| LOOK_EVERY.min(limit / 3));
        tokio::select! {
            biased;
            result = statement => result,
            never = self.look(first) => match never {},
        }
    }

    /// What the last failed statement waited for, if the watch saw it.
    pub(super) async fn take(&self) -> LockWait {
        self.watcher.lock().await.seen.take().unwrap_or_default()
    }

    async fn look(&self, first: Duration) -> std::convert::Infallible {
        tokio::time::sleep(first).await;
        loop {
            // Dropping this future at any point frees the lock and leaves nothing half written.
            self.look_once(&mut *self.watcher.lock().await).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look_once(&self, watcher: &mut Watcher) {
        if watcher.unavailable {
            return;
        }
        if watcher.client.as_ref().is_none_or(Client::is_closed) {
            match self.server.connect().await {
                Ok(client) => watcher.client = Some(client),
                Err(error) => {
                    watcher.unavailable = true;
                    tracing::debug!(target: "app_db::migrate", %error, "no second session, so nobody in the way can be named");
                    return;
                }
            }
        }
        let Some(client) = &watcher.client else {
            return;
        };
        if let Ok(phase) = self.report_build(client, watcher.phase.as_ref()).await {
            watcher.phase = phase;
        }
        let Ok(Some(seen)) = self.ask(client).await else {
            return;
        };
        if watcher
            .reported
            .as_ref()
            .is_none_or(|reported| differ(reported, &seen))
        {
            tracing::info!(target: "app_db::migrate",
                on = seen.on,
                blockers = names(&seen.blockers),
                queued = seen.queued,
                "waiting for a lock"
            );
            self.listener.tell(|| MigrationEvent::Waiting {
                on: seen.on.clone(),
                blockers: seen.blockers.clone(),
                queued: seen.queued,
            });
            watcher.reported = Some(seen.clone());
        }
        if let Some(limit) = self.end_idle_blockers {
            self.end_idle(client, limit).await;
        }
        watcher.seen = Some(seen);
    }

    /// `None` while the session waits for nothing.
    async fn ask(&self, client: &Client) -> Result<Option<LockWait>, Error> {
        let rows = client.query(BLOCKERS, &[&self.pid]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let queue = client.query_one(QUEUE, &[&self.pid]).await?;
        Ok(Some(LockWait {
            on: queue.try_get(0)?,
            queued: usize::try_from(queue.try_get::<_, i64>(1)?).unwrap_or_default(),
            blockers: rows.iter().map(blocker).collect::<Result<_, _>>()?,
            ..LockWait::default()
        }))
    }

    /// Reports each phase of an index build once, and returns the current one.
    async fn report_build(
        &self,
        client: &Client,
        before: Option<&String>,
    ) -> Result<Option<String>, Error> {
        let Some(row) = client.query_opt(BUILD, &[&self.pid]).await? else {
            return Ok(None);
        };
        let phase: String = row.try_get(0)?;
        let (blocks_done, blocks_total) = (row.try_get(1)?, row.try_get(2)?);
        let waits_for = row.try_get(3)?;
        if before != Some(&phase) {
            tracing::info!(target: "app_db::migrate",
                phase,
                blocks_done,
                blocks_total,
                waits_for_backend = waits_for,
                "building an index"
            );
            self.listener.tell(|| MigrationEvent::Building {
                phase: phase.clone(),
                blocks_done,
                blocks_total,
                waits_for,
            });
        }
        Ok(Some(phase))
    }

    async fn end_idle(&self, client: &Client, limit: Duration) {
        match client
            .query(END_IDLE, &[&self.pid, &limit.as_secs_f64()])
            .await
        {
            Ok(rows) => {
                for pid in rows.iter().filter_map(|row| row.try_get::<_, i32>(0).ok()) {
                    tracing::warn!(target: "app_db::migrate", pid, ?limit, "ended a session that was idle in its transaction");
                }
            }
            Err(error) => {
                tracing::warn!(target: "app_db::migrate", %error, "cannot end a session that is idle in its transaction");
            }
        }
    }
}

fn blocker(row: &Row) -> Result<Blocker, Error> {
    let open_for: Option<f64> = row.try_get(3)?;
    Ok(Blocker {
        pid: row.try_get(0)?,
        application_name: row.try_get(1)?,
        state: row.try_get(2)?,
        open_for: open_for.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        autovacuum: row.try_get(4)?,
        prevents_wraparound: row.try_get::<_, bool>(4)? && row.try_get::<_, bool>(5)?,
    })
}

/// Whether the lock or its holders differ. A greater age alone is not worth a report.
fn differ(before: &LockWait, now: &LockWait) -> bool {
    let pids = |wait: &LockWait| wait.blockers.iter().map(|b| b.pid).collect::<Vec<_>>();
    before.on != now.on || pids(before) != pids(now)
}

/// For the log, without brackets.
pub(super) fn names(blockers: &[Blocker]) -> String {
    let names: Vec<_> = blockers.iter().map(Blocker::to_string).collect();
    names.join(", ")
}

const LOOK_EVERY: Duration = Duration::from_millis(400);

/// A role that may not see other sessions recognizes an autovacuum: it has no user, and it reports
/// progress.
const BLOCKERS: &str = "SELECT DISTINCT b.pid, coalesce(a.application_name, '')::text, a.state::text, \
     extract(epoch FROM clock_timestamp() - a.xact_start)::float8, \
     coalesce(a.backend_type = 'autovacuum worker', false) OR (a.usesysid IS NULL AND EXISTS \
     (SELECT FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.pid = b.pid)), \
     coalesce(a.query LIKE 'autovacuum:%(to prevent wraparound)', false) \
     OR EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation \
     WHERE l.pid = $1 AND NOT l.granted AND c.relkind IN ('r', 'm') \
     AND age(c.relfrozenxid) > current_setting('autovacuum_freeze_max_age')::int) \
     FROM unnest(pg_catalog.pg_blocking_pids($1)) AS b(pid) \
     LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid ORDER BY 1";

/// What the session waits for, and how many wait for the session.
const QUEUE: &str = "SELECT \
     (SELECT CASE WHEN l.relation IS NULL THEN l.locktype || ' lock' \
      ELSE 'table ' || coalesce(l.relation::regclass::text, l.relation::text) END \
      FROM pg_catalog.pg_locks l WHERE l.pid = $1 AND NOT l.granted LIMIT 1), \
     (SELECT count(DISTINCT w.pid) FROM pg_catalog.pg_locks w WHERE NOT w.granted AND w.pid <> $1 \
      AND $1 = ANY (pg_catalog.pg_blocking_pids(w.pid)))";

const BUILD: &str = "SELECT phase, coalesce(blocks_done, 0), coalesce(blocks_total, 0), \
     nullif(current_locker_pid, 0)::int FROM pg_catalog.pg_stat_progress_create_index WHERE pid = $1";

const END_IDLE: &str = "SELECT a.pid FROM unnest(pg_catalog.pg_blocking_pids($1)) AS b(pid) \
     JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid \
     WHERE a.state LIKE 'idle in transaction%' \
     AND extract(epoch FROM clock_timestamp() - a.state_change)::float8 >= $2 \
     AND pg_catalog.pg_terminate_backend(a.pid)";
