//! What the server was doing when it was asked.

use std::fmt;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};

/// What the server was doing: how many of its sessions are taken, what they wait for, and what its database has
/// read.
///
/// The server shows other users' sessions only to members of `pg_read_all_stats`. For everybody else they are
/// `hidden`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ServerFigures {
    /// Sessions of clients, of all databases.
    pub sessions: u32,
    /// How many sessions the server allows, without the reserved ones.
    pub max_connections: u32,
    /// Sessions that run a statement and wait for nothing, except perhaps for a processor.
    pub running: u32,
    /// Sessions whose statement waits for a disk.
    pub waiting_for_io: u32,
    /// Sessions whose statement waits for another session's lock.
    pub waiting_for_locks: u32,
    /// Sessions whose statement waits for something else: an internal lock, another process, its client.
    pub waiting_otherwise: u32,
    /// Sessions that are idle in a transaction.
    pub idle_in_transaction: u32,
    /// Sessions that are idle.
    pub idle: u32,
    /// Sessions that the server hides from this user.
    pub hidden: u32,
    /// Blocks of this database that came from the disk or the system's cache, since its statistics began.
    pub blocks_read: u64,
    /// Blocks of this database that were in the server's own cache.
    pub blocks_hit: u64,
    /// Bytes that statements in this database have put into temporary files.
    pub temporary_bytes: u64,
    /// Deadlocks in this database.
    pub deadlocks: u64,
    /// The memory of a session that has done nothing yet, in bytes. Each session has at least that. `None` if this
    /// user may not ask.
    pub session_memory: Option<u64>,
}

impl ServerFigures {
    /// Asks on a session. `None` if the server has no answer. A server that is not PostgreSQL may have none.
    pub(crate) async fn ask(conn: &mut AsyncPgConnection) -> Option<Self> {
        let row: Row = diesel::sql_query(FIGURES).get_result(conn).await.ok()?;
        let session_memory = match row.tells_memory {
            true => memory(conn).await,
            false => None,
        };
        Some(Self {
            sessions: small(row.sessions),
            max_connections: small(row.max_connections),
            running: small(row.running),
            waiting_for_io: small(row.waiting_for_io),
            waiting_for_locks: small(row.waiting_for_locks),
            waiting_otherwise: small(row.waiting_otherwise),
            idle_in_transaction: small(row.idle_in_transaction),
            idle: small(row.idle),
            hidden: small(row.hidden),
            blocks_read: row.blocks_read.unsigned_abs(),
            blocks_hit: row.blocks_hit.unsigned_abs(),
            temporary_bytes: row.temporary_bytes.unsigned_abs(),
            deadlocks: row.deadlocks.unsigned_abs(),
            session_memory,
        })
    }

    /// The taken share of the connections that clients may have.
    #[must_use]
    pub fn share(&self) -> f64 {
        match self.max_connections {
            0 => 0.0,
            max => f64::from(self.sessions) / f64::from(max),
        }
    }
}

/// A short text: what the sessions of the server do.
impl fmt::Display for ServerFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} connections: {} run, {} wait for the disk, {} for locks, {} for something else; {} are idle \
             in a transaction, {} idle, {} hidden",
            self.sessions,
            self.max_connections,
            self.running,
            self.waiting_for_io,
            self.waiting_for_locks,
            self.waiting_otherwise,
            self.idle_in_transaction,
            self.idle,
            self.hidden
        )
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    sessions: i64,
    #[diesel(sql_type = BigInt)]
    max_connections: i64,
    #[diesel(sql_type = BigInt)]
    running: i64,
    #[diesel(sql_type = BigInt)]
    waiting_for_io: i64,
    #[diesel(sql_type = BigInt)]
    waiting_for_locks: i64,
    #[diesel(sql_type = BigInt)]
    waiting_otherwise: i64,
    #[diesel(sql_type = BigInt)]
    idle_in_transaction: i64,
    #[diesel(sql_type = BigInt)]
    idle: i64,
    #[diesel(sql_type = BigInt)]
    hidden: i64,
    #[diesel(sql_type = BigInt)]
    blocks_read: i64,
    #[diesel(sql_type = BigInt)]
    blocks_hit: i64,
    #[diesel(sql_type = BigInt)]
    temporary_bytes: i64,
    #[diesel(sql_type = BigInt)]
    deadlocks: i64,
    #[diesel(sql_type = Bool)]
    tells_memory: bool,
}

#[derive(QueryableByName)]
struct Memory {
    #[diesel(sql_type = Nullable<BigInt>)]
    bytes: Option<i64>,
}

async fn memory(conn: &mut AsyncPgConnection) -> Option<u64> {
    let memory: Memory = diesel::sql_query(MEMORY).get_result(conn).await.ok()?;
    memory.bytes.map(i64::unsigned_abs)
}

fn small(count: i64) -> u32 {
    u32::try_from(count).unwrap_or_default()
}

/// A hidden session has no state and no kind.
const FIGURES: &str = "\
SELECT s.*,
       current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8
           - coalesce(current_setting('reserved_connections', true)::int8, 0) AS max_connections,
       coalesce(d.blks_read, 0) AS blocks_read, coalesce(d.blks_hit, 0) AS blocks_hit,
       coalesce(d.temp_bytes, 0) AS temporary_bytes, coalesce(d.deadlocks, 0) AS deadlocks,
       coalesce(has_table_privilege(to_regclass('pg_catalog.pg_backend_memory_contexts')::oid, 'SELECT'), false)
           AS tells_memory
FROM (SELECT count(*) AS sessions,
             count(*) FILTER (WHERE state = 'active' AND wait_event_type IS NULL) AS running,
             count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'IO') AS waiting_for_io,
             count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'Lock') AS waiting_for_locks,
             count(*) FILTER (WHERE state = 'active' AND wait_event_type NOT IN ('IO', 'Lock'))
                 AS waiting_otherwise,
             count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction,
             count(*) FILTER (WHERE state = 'idle') AS idle,
             count(*) FILTER (WHERE state IS NULL AND backend_type IS NULL) AS hidden
      FROM pg_catalog.pg_stat_activity
      WHERE datid IS NOT NULL AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
        AND coalesce(backend_type, 'client backend') = 'client backend') AS s
LEFT JOIN pg_catalog.pg_stat_database AS d ON d.datname = current_database()";

const MEMORY: &str =
    "SELECT sum(total_bytes)::int8 AS bytes FROM pg_catalog.pg_backend_memory_contexts";
