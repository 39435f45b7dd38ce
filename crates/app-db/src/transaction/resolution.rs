//! Finds out what became of a COMMIT whose answer was lost.

use db_pool::plumbing;
use std::panic::Location;
use std::time::Duration;

use db_pool::{Pool, PoolError};
use diesel::QueryResult;
use diesel::result::Error as QueryError;
use diesel::sql_types::{Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::Error;

/// Identifies a transaction after its connection is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommitId {
    Assigned(Assigned),
    /// The transaction ran on a standby, where a COMMIT has nothing to keep.
    Standby,
}

/// The id of a transaction, and which server assigned it.
///
/// The id alone is not enough, because it may be assigned twice: by a standby that is promoted before it
/// has received the transaction, or by a server that crashes before it has written the id down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assigned {
    xid: String,
    server: String,
    crash: String,
}

impl CommitId {
    /// Asks the server for the id, which assigns one if the transaction has none. Even a transaction that
    /// wrote no row needs one: it may have sent notifications, or have read rows that only its COMMIT
    /// proves consistent.
    pub(crate) async fn take(conn: &mut AsyncPgConnection) -> QueryResult<Self> {
        let taking = format!(
            "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN \
             pg_catalog.pg_current_xact_id()::text || ' ' || {SERVER} || ' ' || {LAST_CRASH} END"
        );
        let taken: Option<String> = diesel::dsl::sql::<Nullable<Text>>(&taking)
            .get_result(conn)
            .await?;
        let mut parts = taken.as_deref().unwrap_or_default().split(' ');
        Ok(match (parts.next(), parts.next(), parts.next()) {
            (Some(xid), Some(server), Some(crash)) => Self::Assigned(Assigned {
                xid: xid.to_owned(),
                server: server.to_owned(),
                crash: crash.to_owned(),
            }),
            _ => Self::Standby,
        })
    }

    /// Asks on another connection what became of the transaction.
    ///
    /// It asks until the server knows, for at most ten seconds: the backend may still be busy with the
    /// COMMIT, or the server may be restarting. The transaction's timeout keeps running and may end this
    /// earlier.
    pub(crate) async fn resolve(
        &self,
        pool: &Pool,
        caller: &'static Location<'static>,
        lost: QueryError,
    ) -> Result<(), Error> {
        let Self::Assigned(id) = self else {
            return Ok(());
        };
        let deadline = Instant::now() + WITHIN;
        let mut pause = FIRST_PAUSE;
        while let Ok(answer) = timeout_at(deadline, ask(pool, caller, id)).await {
            match answer {
                Ok(CommitStatus::Committed) => return Ok(()),
                Ok(CommitStatus::Aborted) => return Err(Error::CommitAborted(lost)),
                Ok(CommitStatus::Unknown) | Err(Error::Pool(PoolError::Closed { .. })) => break,
                Ok(CommitStatus::Open) => {}
                Err(error) => {
                    tracing::debug!(target: "app_db::transaction", %error, "a lost COMMIT is asked for once more");
                }
            }
            if Instant::now() + pause >= deadline {
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(Error::CommitUnknown(lost))
    }
}

/// What a server says about a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommitStatus {
    Committed,
    Aborted,
    /// The server has not ended the transaction yet.
    Open,
    /// This is another server, or the transaction is too old for the server to know, or the id may
    /// belong to another transaction since a crash.
    Unknown,
}

impl CommitStatus {
    fn of(status: Option<&str>) -> Self {
        match status {
            Some("committed") => Self::Committed,
            Some("aborted") => Self::Aborted,
            Some("in progress") => Self::Open,
            _ => Self::Unknown,
        }
    }
}

async fn ask(
    pool: &Pool,
    caller: &'static Location<'static>,
    id: &Assigned,
) -> Result<CommitStatus, Error> {
    let mut conn = plumbing::get_for(pool, caller).await?;
    // After a crash the server still knows every id that it had written down, and it had written down every
    // COMMIT that took effect. So if the id is not committed, our COMMIT did not take effect. If the id is
    // committed, the transaction may be ours or a later one.
    let asking = format!(
        "SELECT CASE WHEN id.server <> {SERVER} THEN NULL \
         WHEN id.crash = {LAST_CRASH} THEN pg_catalog.pg_xact_status(id.xid) \
         WHEN id.xid >= pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) THEN 'aborted' \
         WHEN pg_catalog.pg_xact_status(id.xid) IN ('aborted', 'in progress') THEN 'aborted' END AS status \
         FROM (SELECT $1::text::xid8, $2::text, $3::text) AS id (xid, server, crash)"
    );
    let asking = diesel::sql_query(asking)
        .bind::<Text, _>(&id.xid)
        .bind::<Text, _>(&id.server)
        .bind::<Text, _>(&id.crash);
    let answer: Answer = asking.get_result(&mut conn).await?;
    Ok(CommitStatus::of(answer.status.as_deref()))
}

#[derive(diesel::QueryableByName)]
struct Answer {
    #[diesel(sql_type = Nullable<Text>)]
    status: Option<String>,
}

/// Which server writes the WAL, and on which timeline.
///
/// It fails on a standby, so that the pool asks again if a standby is in the middle of its promotion.
const SERVER: &str = "((SELECT system_identifier::text FROM pg_catalog.pg_control_system()) || '/' || \
     pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))";

/// When the server last lost its statistics. It loses them in every crash and in no orderly restart.
const LAST_CRASH: &str = "coalesce(extract(epoch FROM \
     pg_catalog.pg_stat_get_bgwriter_stat_reset_time())::text, 'never')";

/// How long to go on asking.
///
/// In a pool of one, the lost connection keeps its slot for up to five seconds, until its server has let go
/// of it. Only then can another connection ask. That leaves five seconds, which is enough for a server that
/// restarts or a standby that takes over. A caller who cannot wait that long sets the timeout of the
/// transaction.
const WITHIN: Duration = Duration::from_secs(10);

/// A backend usually notices at once that its client is gone.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// A server that restarts takes seconds.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    /// Another server, as after a failover, gives no status, and neither does an id that is too old for the
    /// server to know.
    #[test]
    fn only_the_servers_own_word_decides() {
        assert_eq!(CommitStatus::of(Some("committed")), CommitStatus::Committed);
        assert_eq!(CommitStatus::of(Some("aborted")), CommitStatus::Aborted);
        assert_eq!(CommitStatus::of(Some("in progress")), CommitStatus::Open);
        assert_eq!(CommitStatus::of(None), CommitStatus::Unknown);
        assert_eq!(CommitStatus::of(Some("else")), CommitStatus::Unknown);
    }
}
