//! A COMMIT whose answer is lost, and the server's later answer about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use app_db::{ConnectionExt, Database, Error, Kind};
use harness::{Fault, Proxy, TestDatabase, wait_until};
use tokio::task::JoinHandle;

use super::interrupted::Gate;
use super::{bump, committed, counters};
use crate::SOON;
use crate::transaction::{database, value};

const LOST: [(Fault, i64); 2] = [
    (Fault::LoseRequest(b"COMMIT"), 0),
    (Fault::LoseReply(b"COMMIT"), 1),
];

/// Longer than the server is asked.
const LONG: Duration = Duration::from_secs(15);

async fn behind_a_proxy() -> (TestDatabase, Proxy, Database) {
    let (db, _direct) = counters().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&db.proxied_url(&proxy), &[]).await;
    (db, proxy, database)
}

/// Increments a counter, and another counter once the first change is known to be committed.
async fn bump_resolved(
    database: &Database,
    attempts: &AtomicU32,
    known: &Arc<AtomicU32>,
) -> Result<usize, Error> {
    let work = async |conn: &mut _| {
        attempts.fetch_add(1, Ordering::SeqCst);
        let known = Arc::clone(known);
        ConnectionExt::after_commit(conn, move || {
            known.fetch_add(1, Ordering::SeqCst);
        });
        Ok(bump(conn, 1).await?)
    };
    database
        .transaction()
        .resolve_commit()
        .timeout(LONG)
        .run(work)
        .await
}

/// The server is asked, and knows; the work runs once in either case.
#[tokio::test]
async fn a_lost_commit_is_resolved_by_asking_the_server() {
    for (fault, effect) in LOST {
        let (db, proxy, database) = behind_a_proxy().await;
        proxy.set(fault.clone()).await;
        let (attempts, known) = (AtomicU32::new(0), Arc::default());
        let outcome = bump_resolved(&database, &attempts, &known).await;
        assert_eq!(value(&attempts), 1);
        assert_eq!(committed(&db).await, effect, "{fault:?}");
        assert_eq!(i64::from(value(&known)), effect, "after_commit, {fault:?}");
        match effect {
            1 => assert_eq!(outcome.unwrap(), 1),
            _ => {
                let error = outcome.unwrap_err();
                assert!(matches!(error, Error::CommitAborted(_)), "{error:?}");
                assert_eq!(error.kind(), Kind::Down);
            }
        }
    }
}

/// Without `resolve_commit` nobody asks the server. The work is not retried in either case.
#[tokio::test]
async fn a_lost_commit_is_unknown_whether_or_not_it_arrived() {
    for (fault, effect) in LOST {
        let (db, proxy, database) = behind_a_proxy().await;
        proxy.set(fault).await;
        let attempts = AtomicU32::new(0);
        let outcome: Result<usize, Error> = database
            .write(async |conn| {
                attempts.fetch_add(1, Ordering::SeqCst);
                conn.after_commit(|| panic!("nobody knows of a commit"));
                Ok(bump(conn, 1).await?)
            })
            .await;
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::CommitUnknown(_)), "{error:?}");
        assert_eq!(error.kind(), Kind::OutcomeUnknown);
        assert_eq!((value(&attempts), committed(&db).await), (1, effect));
    }
}

/// A COMMIT with `resolve_commit` and a time limit, held up on the server.
async fn commit_at(
    gate: &Gate<'_>,
    database: &Database,
    bound: Duration,
) -> JoinHandle<Result<(), Error>> {
    let database = database.clone();
    let committing = tokio::spawn(async move {
        database
            .transaction()
            .resolve_commit()
            .timeout(bound)
            .run(async |conn| Ok::<_, Error>(super::interrupted::insert(conn).await?))
            .await
    });
    gate.reached().await;
    committing
}

/// The pool waits for a backend that is still busy with the COMMIT.
#[tokio::test]
async fn a_commit_still_in_progress_is_waited_for() {
    let (db, proxy, database) = behind_a_proxy().await;
    let gate = Gate::before(&db).await;
    let committing = commit_at(&gate, &database, LONG).await;
    proxy.cut();
    let asked = "select exists (select from pg_stat_activity \
        where datname = current_database() and query like '%pg_xact_status%' and pid <> pg_backend_pid())";
    wait_until("the server is asked", SOON, async || {
        db.scalar(asked).await.unwrap()
    })
    .await;
    assert!(!committing.is_finished());
    gate.open().await;
    committing.await.unwrap().unwrap();
    assert_eq!(gate.rows().await, 1);
}

/// A server that cannot be asked leaves the outcome unknown, after a while or when the time of the transaction
/// is up.
#[tokio::test]
async fn a_commit_stays_unknown_while_the_server_cannot_be_asked() {
    let short = Duration::from_secs(2);
    for (bound, took) in [(LONG, 8..12), (short, 1..4)] {
        let (db, proxy, database) = behind_a_proxy().await;
        let gate = Gate::before(&db).await;
        let began = Instant::now();
        let committing = commit_at(&gate, &database, bound).await;
        proxy.set(Fault::Refuse).await;
        proxy.cut();
        let error = committing.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::CommitUnknown(_)), "{error:?}");
        let seconds = began.elapsed().as_secs();
        assert!(took.contains(&seconds), "{bound:?}: {seconds} s");
        gate.let_through(1).await;
    }
}

/// In a pool of one, the lost connection makes room for the one that asks.
#[tokio::test]
async fn a_pool_of_one_resolves_a_lost_commit() {
    let (db, _direct) = counters().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let one = [("APP_DB__PROFILE__MAX", "1")];
    let database = database(&db.proxied_url(&proxy), &one).await;
    proxy.set(Fault::LoseReply(b"COMMIT")).await;
    let outcome = bump_resolved(&database, &AtomicU32::new(0), &Arc::default()).await;
    assert_eq!(outcome.unwrap(), 1);
}
