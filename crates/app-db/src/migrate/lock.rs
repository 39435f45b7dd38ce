//! The lock that lets one migrator at a time work on a database.
//!
//! A session advisory lock, taken on the connection that runs the migrations and released by closing
//! it. A transaction's lock would not do: `CREATE INDEX CONCURRENTLY` waits for every transaction.
//! For the same reason nobody blocks inside `pg_advisory_lock`: the waiting statement holds a
//! snapshot, the index build waits for the snapshot, and the waiter for the builder's lock. Waiters
//! poll, and are idle in between.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, Error};

use crate::migrate::error::MigrateError;
use crate::migrate::history;
use crate::migrate::holder::Holder;

/// The two keys of the advisory lock, as `pg_locks` shows them.
///
/// `classid` is the same everywhere; `objid` differs by database and schema, so that the schemas of one
/// database can be migrated side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LockKey {
    classid: i32,
    objid: i32,
}

impl LockKey {
    pub(super) fn new(database: &str, schema: &str) -> Self {
        let name = format!("{database}|{schema}|{}", history::TABLE);
        Self {
            classid: CLASSID,
            objid: crc32fast::hash(name.as_bytes()).cast_signed(),
        }
    }

    /// Polls until the lock is taken, at the longest for `wait`.
    ///
    /// Dropping the future leaves the session as it was, or with the lock taken; the session is then
    /// dropped with it.
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
                tracing::info!(
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
        let Self { classid, objid } = self;
        let sql = format!("SELECT pg_try_advisory_lock({classid}, {objid})");
        client.query_one(&sql, &[]).await?.try_get(0)
    }

    /// Releases the lock if this session has it.
    pub(super) async fn release(self, client: &Client) -> Result<(), Error> {
        let Self { classid, objid } = self;
        // Unlocking what is not held is a warning to the server, hence the condition.
        let sql = format!(
            "SELECT pg_advisory_unlock({classid}, {objid}) FROM pg_locks \
             WHERE locktype = 'advisory' AND objsubid = 2 AND pid = pg_backend_pid() \
             AND classid::bigint = {} AND objid::bigint = {}",
            unsigned(classid),
            unsigned(objid)
        );
        client.batch_execute(&sql).await
    }

    async fn holder(self, client: &Client) -> Result<Option<Holder>, Error> {
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

/// Apart enough that a hundred waiters cost the server nothing, close enough that nobody notices.
fn poll_delay() -> Duration {
    Duration::from_millis(fastrand::u64(250..=1000))
}

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
