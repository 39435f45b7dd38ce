//! A COMMIT that is interrupted, and the error of its caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use app_db::{Error, Kind, Pool};
use db_pool::plumbing::{Observed, Observer};
use diesel::QueryResult;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use harness::{TestDatabase, wait_until};
use tokio::time::timeout;

use super::{bump, committed, counters, sleep};
use crate::SOON;
use crate::at_rest::{open, watched};
use crate::pool::sized;
use crate::transaction::database;

/// Holds up every COMMIT of an insert into `gated` on the server until it is opened.
pub(super) struct Gate<'db> {
    db: &'db TestDatabase,
    holder: tokio_postgres::Client,
}

impl<'db> Gate<'db> {
    pub(super) async fn before(db: &'db TestDatabase) -> Self {
        db.sql(
            "create table gated (x int); grant all on gated to public; \
             create function wait_at_the_gate() returns trigger language plpgsql as \
                 $$ begin perform pg_advisory_xact_lock(7); return null; end $$; \
             create constraint trigger gate after insert on gated \
                 deferrable initially deferred for each row execute function wait_at_the_gate()",
        )
        .await
        .unwrap();
        let holder = db.admin().await.unwrap();
        holder
            .batch_execute("select pg_advisory_lock(7)")
            .await
            .unwrap();
        Self { db, holder }
    }

    /// Waits until a COMMIT has reached the server and is held up there.
    pub(super) async fn reached(&self) {
        let waiting = "select exists (select from pg_locks l join pg_database d on d.oid = l.database \
            where datname = current_database() and locktype = 'advisory' and not granted)";
        wait_until("a COMMIT waits at the gate", SOON, async || {
            self.db.scalar(waiting).await.unwrap()
        })
        .await;
    }

    pub(super) async fn open(&self) {
        self.holder
            .batch_execute("select pg_advisory_unlock(7)")
            .await
            .unwrap();
    }

    pub(super) async fn rows(&self) -> i64 {
        self.db.scalar("select count(*) from gated").await.unwrap()
    }

    pub(super) async fn let_through(&self, rows: i64) {
        self.open().await;
        wait_until("it is committed", SOON, async || self.rows().await == rows).await;
    }
}

pub(super) async fn insert(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    conn.batch_execute("insert into gated values (1)").await
}

/// Waits until the server has acted on a cancel request that was sent after all earlier ones.
async fn cancel_requests_have_arrived(db: &TestDatabase, pool: &Pool) {
    let mut conn = pool.get().await.unwrap();
    let pid = conn.backend_pid();
    let sleeping = tokio::spawn(async move { sleep(&mut conn, 25.0).await });
    let is_asleep = async || {
        let backends = db.backends("app-db").await.unwrap();
        backends.iter().any(|backend| {
            backend.pid == pid && backend.state == "active" && backend.query.contains("pg_sleep")
        })
    };
    wait_until("the statement runs", SOON, &is_asleep).await;
    sleeping.abort();
    wait_until("the statement is cancelled", SOON, async || {
        !is_asleep().await
    })
    .await;
}

/// case F1: under synchronous replication a cancelled COMMIT would report success for changes that only
/// the primary has.
#[tokio::test]
async fn a_commit_given_up_on_its_way_is_not_cancelled() {
    let (db, database) = counters().await;
    let database = watched(&db, database);
    let gate = Gate::before(&db).await;
    let committing = {
        let database = database.clone();
        tokio::spawn(async move { database.write(insert).await })
    };
    gate.reached().await;
    committing.abort();
    assert!(committing.await.unwrap_err().is_cancelled());
    cancel_requests_have_arrived(&db, database.pool("write").unwrap()).await;
    gate.let_through(1).await;
    database.rests().await;
}

/// case F1: the COMMIT of a plain connection is dropped when diesel has queued it and the driver has not
/// sent it.
#[tokio::test(flavor = "current_thread")]
async fn a_commit_given_up_before_it_was_sent_is_not_cancelled() {
    let db = TestDatabase::empty().await.unwrap();
    let gate = Gate::before(&db).await;
    let pool = open(&db, sized(2)).await;
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("begin; insert into gated values (1)")
        .await
        .unwrap();
    let mut commit = Box::pin(conn.batch_execute("COMMIT"));
    assert!(futures_util::poll!(&mut commit).is_pending());
    drop(commit);
    drop(conn);
    gate.reached().await;
    cancel_requests_have_arrived(&db, &pool).await;
    gate.let_through(1).await;
    pool.rests().await;
}

/// case R11, case F1: a shutdown cancels work that outlasts its grace, but not a COMMIT.
#[tokio::test]
async fn a_shutdown_does_not_cancel_a_commit() {
    let (db, database) = counters().await;
    let database = watched(&db, database);
    let gate = Gate::before(&db).await;
    let committing = {
        let database = database.clone();
        tokio::spawn(async move { database.write(insert).await })
    };
    gate.reached().await;
    let closed = database.shutdown(Duration::from_millis(10)).await;
    assert_eq!(closed.abandoned, 1);
    gate.let_through(1).await;
    committing.await.unwrap().unwrap();
    database.rests().await;
}

/// case R28: the time is up while COMMIT is on its way: the outcome is unknown, and the caller is told so.
#[tokio::test]
async fn a_timeout_during_commit_leaves_the_outcome_unknown() {
    let (db, database) = counters().await;
    let gate = Gate::before(&db).await;
    let attempts = AtomicU32::new(0);
    let outcome = database
        .transaction()
        .timeout(Duration::from_millis(300))
        .run(async |conn| {
            attempts.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Error>(insert(conn).await?)
        })
        .await;
    assert_unknown(outcome);
    assert_eq!(attempts.into_inner(), 1);
    assert_eq!(gate.rows().await, 0);
    gate.let_through(1).await;
}

/// case R28: a COMMIT that was refused is over; the time is up in the attempt after it.
#[tokio::test]
async fn a_timeout_after_a_refused_commit_is_no_unknown_outcome() {
    let (db, database) = counters().await;
    db.sql(
        "create function conflict() returns trigger language plpgsql as \
             $$ begin raise exception 'conflict' using errcode = '40001'; end $$; \
         create constraint trigger conflict after update on t \
             deferrable initially deferred for each row execute function conflict()",
    )
    .await
    .unwrap();
    let attempts = AtomicU32::new(0);
    let outcome: Result<(), Error> = database
        .transaction()
        .timeout(Duration::from_millis(500))
        .run(async |conn| {
            bump(conn, 1).await?;
            match attempts.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(()),
                _ => Ok(sleep(conn, 25.0).await?),
            }
        })
        .await;
    assert!(
        matches!(outcome, Err(Error::TimedOut { attempt: 2, .. })),
        "{outcome:?}"
    );
    assert_eq!(committed(&db).await, 0);
}

/// case R07: a server that ends the session during COMMIT may have committed, so the work is not retried.
#[tokio::test]
async fn a_session_ended_during_commit_leaves_the_outcome_unknown() {
    let (db, database) = counters().await;
    let database = watched(&db, database);
    let gate = Gate::before(&db).await;
    let attempts = Arc::new(AtomicU32::new(0));
    let committing = {
        let (database, attempts) = (database.clone(), Arc::clone(&attempts));
        tokio::spawn(async move {
            database
                .write(async |conn| {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Error>(insert(conn).await?)
                })
                .await
        })
    };
    gate.reached().await;
    db.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = current_database() and application_name = 'app-db'",
    )
    .await
    .unwrap();
    assert_unknown(committing.await.unwrap());
    assert_eq!(AtomicU32::load(&attempts, Ordering::SeqCst), 1);
    gate.open().await;
    assert_eq!(gate.rows().await, 0);
    database.rests().await;
}

/// case R07: a session that has ended before COMMIT was sent has not committed, and that is known.
#[tokio::test]
async fn a_session_ended_before_commit_is_known_to_have_rolled_back() {
    let (db, unbounded) = counters().await;
    drop(unbounded);
    let bound = (
        "APP_DB__PROFILE__IDLE_IN_TRANSACTION_SESSION_TIMEOUT",
        "50ms",
    );
    let database = watched(&db, database(&db.url(), &[bound]).await);
    let outcome: Result<(), Error> = database
        .write(async |conn| {
            bump(conn, 1).await?;
            let observed = Arc::clone(Observer::of(conn).unwrap().observed());
            timeout(SOON, closed(observed)).await.unwrap();
            Ok(())
        })
        .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Lost(_)), "{error:?}");
    assert_eq!(error.kind(), Kind::Down);
    assert_eq!(error.sqlstate().unwrap().code(), "25P03");
    assert_eq!(committed(&db).await, 0);
    database.rests().await;
}

/// case R28: work that is run once is on its first attempt.
#[tokio::test]
async fn run_once_names_its_only_attempt() {
    let (_db, database) = counters().await;
    let outcome: Result<(), Error> = database
        .transaction()
        .timeout(Duration::from_millis(100))
        .run_once(async |conn| Ok(sleep(conn, 25.0).await?))
        .await;
    assert!(
        matches!(outcome, Err(Error::TimedOut { attempt: 1, .. })),
        "{outcome:?}"
    );
}

/// Polls in a loop: `wait_until` with a borrowing closure is not `Send`, and so cannot be used in work.
pub(crate) async fn closed(observed: Arc<Observed>) {
    while !observed.is_closed() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[track_caller]
fn assert_unknown(outcome: Result<(), Error>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::CommitUnknown(_)), "{error:?}");
    assert_eq!(error.kind(), Kind::OutcomeUnknown);
}
