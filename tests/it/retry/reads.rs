//! Reads are tried again like writes: on the primary, in a pool of their own, and on a replica, which ends them
//! when its recovery needs what they read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use app_db::{Database, StatementStats};
use db_pool::plumbing::Observer;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use harness::{Cluster, ClusterOptions, wait_until};

use super::*;
use crate::SOON;
use crate::captured::Captured;

async fn conflict(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    Ok(raise(conn, "40001").await?)
}

/// How many attempts at it the error tells of, and what was used up.
fn given_up(outcome: Result<(), Error>) -> (u32, Exhausted) {
    match outcome.unwrap_err() {
        Error::Conflict {
            attempts,
            exhausted,
            ..
        } => (attempts, exhausted),
        other => panic!("{other:?}"),
    }
}

/// How many conflicts the server has reported in a pool.
fn reported(database: &Database, pool: &str) -> u64 {
    let conflicts =
        |stats: &StatementStats| stats.errors.iter().map(|(_code, count)| count).sum::<u64>();
    let stats = database.statements();
    let of_pool = stats.iter().filter(|stats| &*stats.pool == pool);
    of_pool.map(conflicts).sum()
}

/// case R20, case R24: without a replica reads are tried again with the budget of the pool that they use.
#[tokio::test]
async fn a_read_that_conflicts_is_tried_again_with_the_budget_of_its_pool() {
    let db = TestDatabase::empty().await.unwrap();
    let own = ("APP_DB__POOLS__READ__MAX", "2");
    for (more, pool, shares) in [(&[][..], "write", true), (&[own][..], "read", false)] {
        let database = database(&db.url(), more).await;
        let mut attempts = 0;
        for nth in 0..20 {
            let (own, exhausted) = given_up(database.read(conflict).await);
            attempts += own;
            let expected = if nth < 5 {
                Exhausted::Attempts
            } else {
                Exhausted::Budget
            };
            assert_eq!(exhausted, expected, "{pool} {nth}");
        }
        // The ten retries of the reserve, and four that only pay it back.
        assert_eq!(attempts, 30, "{pool}");
        assert_eq!(reported(&database, pool), 30);
        let read_only = given_up(database.transaction().read_only().run(conflict).await);
        let expected = match shares {
            true => (1, Exhausted::Budget),
            false => (3, Exhausted::Attempts),
        };
        assert_eq!(
            read_only, expected,
            "transactions of the pool `write`, {pool}"
        );
    }
}

/// A primary with ten rows, and a standby that cancels whatever stands in the way of its recovery.
struct Conflicting {
    _primary: Cluster,
    standby: Cluster,
    db: TestDatabase,
    database: Database,
}

impl Conflicting {
    async fn start() -> Self {
        let primary = Cluster::start(ClusterOptions::default()).await.unwrap();
        let impatient = ClusterOptions::default()
            .setting("max_standby_streaming_delay", "0")
            .setting("hot_standby_feedback", "off");
        let standby = primary.replica_with("replica1", impatient).await.unwrap();
        let db = TestDatabase::empty_on(&primary).await.unwrap();
        db.sql(
            "create table t (id int primary key) with (autovacuum_enabled = off); \
             insert into t select generate_series(1, 10); grant all on t to public",
        )
        .await
        .unwrap();
        standby.caught_up_with(&primary).await.unwrap();
        let replica = harness::through_port(&db.url(), standby.port());
        let more = [
            ("DATABASE_URL_REPLICA", replica.as_str()),
            (
                "APP_DB__PROFILE__DEFAULT_TRANSACTION_ISOLATION",
                "repeatable read",
            ),
        ];
        let database = database(&db.url(), &more).await;
        Self {
            _primary: primary,
            standby,
            db,
            database,
        }
    }

    /// Takes rows away on the primary that a snapshot of the standby has, once a session there is in this state.
    async fn vacuum_once_it_is(&self, state: &str) {
        let reading = format!(
            "select count(*) from pg_stat_activity where application_name = 'app-db' \
             and state = '{state}' and backend_xmin is not null"
        );
        wait_until("the replica is read", SOON, async || {
            self.standby.scalar::<i64>(&reading).await.unwrap() == 1
        })
        .await;
        self.db.sql("delete from t where id = 1").await.unwrap();
        self.db.sql("vacuum t").await.unwrap();
    }
}

async fn count(conn: &mut AsyncPgConnection, also: &str) -> QueryResult<i64> {
    diesel::dsl::sql::<BigInt>(&format!("select count(*) from t{also}"))
        .get_result(conn)
        .await
}

/// case R21: the statement that recovery cancels is run again, on a snapshot of after it.
#[tokio::test]
async fn a_read_cancelled_by_recovery_is_tried_again() {
    let (captured, _guard) = Captured::begin();
    let on = Conflicting::start().await;
    let attempts = AtomicU32::new(0);
    let reading = on.database.read(async |conn| {
        let also = match attempts.fetch_add(1, Ordering::SeqCst) {
            0 => ", pg_sleep(25)",
            _ => "",
        };
        Ok::<_, Error>(count(conn, also).await?)
    });
    let (read, ()) = tokio::join!(reading, on.vacuum_once_it_is("active"));
    assert_eq!(read.unwrap(), 9);
    assert_eq!(attempts.into_inner(), 2);
    assert_eq!(conflicts(&captured), ["40001"]);
    assert!(
        on.standby
            .log_contains("canceling statement due to conflict with recovery")
    );
}

/// case R21: a session that recovery ends between two statements is replaced by another one.
#[tokio::test]
async fn a_read_whose_session_recovery_ends_is_tried_again() {
    let (captured, _guard) = Captured::begin();
    let on = Conflicting::start().await;
    let attempts = AtomicU32::new(0);
    let reading = on.database.read(async |conn| {
        let before = count(conn, "").await?;
        if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
            let observed = Arc::clone(Observer::of(conn).unwrap().observed());
            crate::commit::interrupted::closed(observed).await;
        }
        Ok::<_, Error>((before, count(conn, "").await?))
    });
    let (read, ()) = tokio::join!(reading, on.vacuum_once_it_is("idle in transaction"));
    assert_eq!(read.unwrap(), (9, 9));
    assert_eq!(attempts.into_inner(), 2);
    assert_eq!(conflicts(&captured), ["40001"]);
    assert!(
        on.standby
            .log_contains("terminating connection due to conflict with recovery")
    );
}

/// The codes of what was tried again.
fn conflicts(captured: &Captured) -> Vec<String> {
    let said = captured.events("app_db::transaction");
    let again = said.iter().filter(|event| {
        event
            .get("message")
            .is_some_and(|said| said.contains("is tried again"))
    });
    again
        .map(|event| event.get("sqlstate").unwrap().to_owned())
        .collect()
}
