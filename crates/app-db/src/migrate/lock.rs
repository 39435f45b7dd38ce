//! The lock that lets one migrator at a time work on a database.
//!
//! It is a session advisory lock. The connection that runs the migrations takes it, and closing that
//! connection releases it. A lock that belongs to a transaction would not work, because
//! `CREATE INDEX CONCURRENTLY` waits for every transaction. For the same reason a migrator must not wait
//! inside `pg_advisory_lock`: the waiting statement would hold a snapshot, the index build would wait for
//! that snapshot, and the waiter would wait for the builder's lock. So waiting migrators poll, and are
//! idle in between.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, Error};

use crate::migrate::error::MigrateError;
use crate::migrate::history;
use crate::migrate::holder::Holder;

/// The two keys of the advisory lock, as `pg_locks` shows them.
///
/// `classid` is the same everywhere. `objid` differs by database and schema, so that the schemas of one
/// database can be migrated at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LockKey {
    pub(super) classid: i32,
    pub(super) objid: i32,
}

impl LockKey {
    pub(super) fn new(database: &str, schema: &str) -> Self {
        let name = format!("{database}|{schema}|{}", history::TABLE);
        Self {
            classid: CLASSID,
            objid: crc32fast::hash(name.as_bytes()).cast_signed(),
        }
    }

    /// Polls until it has the lock, for at most `wait`.
    ///
    /// After the future is dropped, the session may or may not have the lock. The caller drops the session
    /// too.
    pub(super) async fn acquire(self, client: &Client, wait: Duration) -> Result<(), MigrateError> {
        let started = Instant::now();
        let mut named = None;
        loop {
            let failed = MigrateError::bookkeeping("take the migrators' lock");
            if self.try_acquire(client).await.map_err(failed)? {
                return Ok(());
            }
            let holder = self
                .holder(client)
                .await
                .map_err(MigrateError::bookkeeping(
                    "find the holder of the migrators' lock",
                ))?;
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(MigrateError::Locked {
                    waited: started.elapsed(),
                    holder,
                });
            }
            if holder.is_some() && holder != named {
                tracing::info!(target: "app_db::migrate",
                    holder = holder.as_ref().map(tracing::field::display),
                    limit = ?wait,
                    "waiting for another migrator"
                );
                named = holder;
            }
            tokio::time::sleep(poll_delay().min(left)).await;
        }
    }

    async fn try_acquire(self, client: &Client) -> Result<bool, Error> {
        let sql = format!("SELECT {}", self.try_sql());
        client.query_one(&sql, &[]).await?.try_get(0)
    }

    /// The expression that takes the lock and says whether it was free.
    pub(super) fn try_sql(self) -> String {
        format!("pg_try_advisory_lock({}, {})", self.classid, self.objid)
    }

    /// Releases the lock, if this session has it.
    pub(super) async fn release(self, client: &Client) -> Result<(), Error> {
        let Self { classid, objid } = self;
        // The condition avoids the server's warning for a lock that the session does not hold.
        let sql = format!(
            "SELECT pg_advisory_unlock({classid}, {objid}) FROM pg_locks \
             WHERE locktype = 'advisory' AND objsubid = 2 AND pid = pg_backend_pid() \
             AND classid::bigint = {} AND objid::bigint = {}",
            unsigned(classid),
            unsigned(objid)
        );
        client.batch_execute(&sql).await
    }

    /// Whether this session has the lock.
    pub(super) async fn is_held(self, client: &Client) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks \
                   WHERE locktype = 'advisory' AND objsubid = 2 AND pid = pg_backend_pid() \
                   AND classid::bigint = $1 AND objid::bigint = $2)";
        let keys = (unsigned(self.classid), unsigned(self.objid));
        client.query_one(sql, &[&keys.0, &keys.1]).await?.try_get(0)
    }

    /// Releases every other advisory lock of this session, which a migration has left.
    pub(super) async fn release_others(self, client: &Client) -> Result<(), Error> {
        let keys = (unsigned(self.classid), unsigned(self.objid));
        // A lock taken twice has to be released twice, and `pg_locks` shows it once.
        loop {
            let rows = client.query(RELEASE_OTHERS, &[&keys.0, &keys.1]).await?;
            let mut released = false;
            for row in &rows {
                released |= row.try_get::<_, bool>(0)?;
            }
            if !released {
                return Ok(());
            }
        }
    }

    /// The session that has the lock.
    pub(super) async fn holder(self, client: &Client) -> Result<Option<Holder>, Error> {
        let row = client
            .query_opt(
                "SELECT l.pid, coalesce(a.application_name, '') \
                 FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
                 WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted \
                 AND l.classid::bigint = $1 AND l.objid::bigint = $2 \
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                 LIMIT 1",
                &[&unsigned(self.classid), &unsigned(self.objid)],
            )
            .await?;
        row.map(|row| {
            Ok(Holder {
                pid: row.try_get(0)?,
                application_name: row.try_get(1)?,
            })
        })
        .transpose()
    }
}

/// `pg_locks` shows the keys as unsigned numbers.
fn unsigned(key: i32) -> i64 {
    i64::from(key.cast_unsigned())
}

/// Long enough that a hundred waiting migrators hardly load the server, short enough that nobody notices
/// the delay.
fn poll_delay() -> Duration {
    Duration::from_millis(fastrand::u64(250..=1000))
}

/// `pg_locks` shows a key of one number as two halves.
const RELEASE_OTHERS: &str = "SELECT CASE \
     WHEN objsubid = 1 AND mode = 'ShareLock' \
     THEN pg_advisory_unlock_shared((classid::bigint << 32) | objid::bigint) \
     WHEN objsubid = 1 THEN pg_advisory_unlock((classid::bigint << 32) | objid::bigint) \
     WHEN mode = 'ShareLock' THEN pg_advisory_unlock_shared( \
     classid::bigint::bit(32)::int, objid::bigint::bit(32)::int) \
     ELSE pg_advisory_unlock(classid::bigint::bit(32)::int, objid::bigint::bit(32)::int) END \
     FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted \
     AND NOT (objsubid = 2 AND classid::bigint = $1 AND objid::bigint = $2)";

/// "MIGR" in ASCII.
const CLASSID: i32 = i32::from_be_bytes(*b"MIGR");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_differs_by_database_and_by_schema() {
        let key = LockKey::new("app", "public");
        assert_eq!(key, LockKey::new("app", "public"));
        assert_ne!(key, LockKey::new("app", "other"));
        assert_ne!(key, LockKey::new("other", "public"));
        assert_eq!(key.classid, 1_296_648_018);
    }
}
