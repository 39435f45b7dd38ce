//! What became of a COMMIT whose answer was lost.

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

/// By what a transaction is found again after its connection is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommitId {
    Assigned(Assigned),
    /// It ran on a standby, where there is nothing that a COMMIT could keep.
    Standby,
}

/// The id of a transaction, and what it was assigned by.
///
/// By the id alone it may be taken for another: a standby that takes over without having heard of it gives the same
/// id away again, and so does a server that has crashed before it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assigned {
    xid: String,
    server: String,
    crash: String,
}

impl CommitId {
    /// Asks for it; assigns an id to a transaction that has none, because even one that has written no row
    /// may have notified others, or have read what only its COMMIT proves consistent.
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

    /// Finds out on another connection what became of the transaction.
    ///
    /// Asks until the server knows, for ten seconds at most: the backend may still be busy with the COMMIT, and
    /// the server may just be restarting. The transaction's own timeout goes on meanwhile, and ends it earlier.
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
                Err(error) => tracing::debug!(%error, "a lost COMMIT is asked for once more"),
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

/// What a server says of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommitStatus {
    Committed,
    Aborted,
    /// Its backend has not ended it yet.
    Open,
    /// It is another server, or the transaction is too old for it to know, or it may be another's since a crash.
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
    // A server that has crashed since knows every id that was written down, as that of a COMMIT which has taken effect
    // is. An id that is not committed there has not been ours in any COMMIT; one that is may be ours or another's.
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

/// The server that WAL is being written by, and the timeline it is writing.
///
/// Fails on a standby, so that one which is being promoted is asked again.
const SERVER: &str = "((SELECT system_identifier::text FROM pg_catalog.pg_control_system()) || '/' || \
     pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))";

/// When it lost its statistics, which it does in every crash and in no orderly restart.
const LAST_CRASH: &str = "coalesce(extract(epoch FROM \
     pg_catalog.pg_stat_get_bgwriter_stat_reset_time())::text, 'never')";

/// How long is asked.
///
/// In a pool of one the connection that was lost keeps its slot for up to five seconds, until its server has let go
/// of it, and only then can another one ask; so that as much again is left for asking, which suffices for a server
/// that restarts or a standby that takes over. Whoever cannot wait so long has `timeout` of the transaction.
const WITHIN: Duration = Duration::from_secs(10);

/// A backend whose client is gone notices at once, as a rule.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// A server that restarts takes seconds.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    /// Another server, as after a failover, and an id too old to be known give no status.
    #[test]
    fn only_the_servers_own_word_decides() {
        assert_eq!(CommitStatus::of(Some("committed")), CommitStatus::Committed);
        assert_eq!(CommitStatus::of(Some("aborted")), CommitStatus::Aborted);
        assert_eq!(CommitStatus::of(Some("in progress")), CommitStatus::Open);
        assert_eq!(CommitStatus::of(None), CommitStatus::Unknown);
        assert_eq!(CommitStatus::of(Some("else")), CommitStatus::Unknown);
    }
}
