//! A transaction in the hands of its caller: `begin`, and `commit` or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use app_db::{ConnectionExt, Database, Error, Kind};
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::join_all;
use harness::{Fault, Proxy, TestDatabase, wait_until};
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::watched;
use crate::transaction::{bump, database, n, prepared, value};

async fn sum(db: &TestDatabase) -> i64 {
    db.scalar("select sum(n)::bigint from t").await.unwrap()
}

#[tokio::test]
async fn what_is_committed_stays_and_what_is_dropped_does_not() {
    let (db, database) = prepared().await;
    let database = watched(&db, database);
    let mut tx = database.begin().await.unwrap();
    bump(&mut tx, 1).await.unwrap();
    // Transactions of diesel's are savepoints in it.
    let nested = tx.transaction(async |conn| bump(conn, 2).await).await;
    assert_eq!(nested, Ok(1));
    assert_eq!(sum(&db).await, 0);
    tx.commit().await.unwrap();
    assert_eq!(sum(&db).await, 2);

    let mut tx = database.begin().await.unwrap();
    bump(&mut tx, 1).await.unwrap();
    drop(tx);
    let mut tx = database.begin().await.unwrap();
    bump(&mut tx, 1).await.unwrap();
    tx.rollback().await;
    assert_eq!(sum(&db).await, 2);
    // Its connection goes back as it was.
    wait_until("nobody holds one", SOON, async || {
        database.status()[0].in_use == 0
    })
    .await;
    let status = &database.status()[0];
    assert_eq!((status.closed.discarded, status.closed.dirty), (0, 0));
    database.rests().await;
}

/// A statement whose future was dropped is cancelled with its transaction.
#[tokio::test]
async fn a_statement_under_way_ends_with_its_transaction() {
    let (db, database) = prepared().await;
    let database = watched(&db, database);
    let mut tx = database.begin().await.unwrap();
    bump(&mut tx, 1).await.unwrap();
    let sleeping = tx.batch_execute("select pg_sleep(25)");
    timeout(Duration::from_millis(50), sleeping)
        .await
        .unwrap_err();
    let began = Instant::now();
    drop(tx);
    wait_until("nothing runs any more", SOON, async || {
        let running = "select count(*) from pg_stat_activity where query like '%pg_sleep(25)%' and state = 'active' \
                       and pid <> pg_backend_pid()";
        db.scalar::<i64>(running).await.unwrap() == 0
    })
    .await;
    assert!(began.elapsed() < SOON);
    assert_eq!(sum(&db).await, 0);
    database.rests().await;
}

/// Its errors have the same kinds as the errors of `write`.
#[tokio::test]
async fn its_errors_have_the_kinds_of_write() {
    let (db, database) = prepared().await;
    let mut tx = database.begin().await.unwrap();
    tx.batch_execute("select 1/0").await.unwrap_err();
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, Error::Aborted(_)), "{error}");
    assert_eq!(error.sqlstate().unwrap().code(), "22012");

    let mut tx = database.begin().await.unwrap();
    tx.batch_execute("commit").await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, Error::Unfinished(_)), "{error}");

    // Two transactions that could not have run one after the other.
    let serializable = async || database.transaction().serializable().begin().await.unwrap();
    let (mut one, mut two) = (serializable().await, serializable().await);
    for (tx, read, written) in [(&mut one, 1, 2), (&mut two, 2, 1)] {
        n(tx, read).await.unwrap();
        bump(tx, written).await.unwrap();
    }
    one.commit().await.unwrap();
    let error = two.commit().await.unwrap_err();
    assert!(
        matches!(error, Error::Conflict { attempts: 1, .. }),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Conflict);

    let error = database
        .transaction()
        .attempts(0)
        .begin()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
    let bound = Duration::from_millis(100);
    let mut tx = database.transaction().timeout(bound).begin().await.unwrap();
    tx.batch_execute("select pg_sleep(0.2)").await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert_eq!(sum(&db).await, 1);
}

/// case R22: after a COMMIT whose answer is lost nobody knows the outcome, unless the server is asked.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_unknown_or_found_out() {
    let (db, _direct) = prepared().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&db.proxied_url(&proxy), &[]).await;
    for resolves in [false, true] {
        let transaction = match resolves {
            true => database.transaction().resolve_commit(),
            false => database.transaction(),
        };
        let mut tx = transaction.begin().await.unwrap();
        bump(&mut tx, 1).await.unwrap();
        let ran = Arc::new(AtomicU32::new(0));
        let counting = Arc::clone(&ran);
        tx.after_commit(move || counting.store(1, Ordering::SeqCst));
        proxy.set(Fault::LoseReply(b"COMMIT")).await;
        let committing = tx.commit();
        let healing = async {
            wait_until("the answer is lost", SOON, async || {
                sum(&db).await > i64::from(resolves)
            })
            .await;
            proxy.set(Fault::None).await;
        };
        let (outcome, ()) = tokio::join!(committing, healing);
        match resolves {
            true => outcome.unwrap(),
            false => assert_eq!(outcome.unwrap_err().kind(), Kind::OutcomeUnknown),
        }
        assert_eq!(value(&ran), u32::from(resolves));
    }
    assert_eq!(sum(&db).await, 2);
}

#[tokio::test]
async fn what_is_left_for_after_the_commit_runs_after_it_alone() {
    let (_db, database) = prepared().await;
    let ran = Arc::new(AtomicU32::new(0));
    let leave = |tx: &mut app_db::OpenTransaction, number: u32| {
        let ran = Arc::clone(&ran);
        tx.after_commit(move || ran.store(number, Ordering::SeqCst));
    };
    let mut tx = database.begin().await.unwrap();
    leave(&mut tx, 1);
    bump(&mut tx, 1).await.unwrap();
    drop(tx);
    let mut tx = database.begin().await.unwrap();
    leave(&mut tx, 10);
    tx.rollback().await;
    let mut tx = database.begin().await.unwrap();
    leave(&mut tx, 100);
    bump(&mut tx, 1).await.unwrap();
    assert_eq!(value(&ran), 0);
    tx.commit().await.unwrap();
    assert_eq!(value(&ran), 100);
}

/// With `and_commit` the last statement ends the transaction. Nothing that its holder does then undoes that, and the
/// next holder can use the connection.
#[tokio::test]
async fn a_statement_with_its_commit_ends_it() {
    let (db, database) = prepared().await;
    let database = watched(&db, database);
    let ran = Arc::new(AtomicU32::new(0));
    for (nth, end) in ["commit", "drop", "rollback"].into_iter().enumerate() {
        let mut tx = database.begin().await.unwrap();
        let counted = Arc::clone(&ran);
        tx.after_commit(move || {
            let _before = counted.fetch_add(1, Ordering::SeqCst);
        });
        bump(&mut tx, 1).await.unwrap();
        bump(tx.and_commit(), 2).await.unwrap();
        let ended = nth as u32 + 1;
        assert_eq!(sum(&db).await, 2 * i64::from(ended), "{end}");
        match end {
            "commit" => tx.commit().await.unwrap(),
            "drop" => drop(tx),
            _ => tx.rollback().await,
        }
        wait_until("nobody holds one", SOON, async || {
            database.status()[0].in_use == 0
        })
        .await;
        assert_eq!(value(&ran), ended, "{end}");
    }
    assert_eq!(sum(&db).await, 6);
    let status = &database.status()[0];
    assert_eq!((status.connects.opened, status.closed.discarded), (1, 0));
    database.rests().await;
}

/// Its options, and its name where somebody waits for its connection.
#[tokio::test]
async fn it_is_described_like_any_transaction() {
    let (db, _database) = prepared().await;
    let database = database(&db.url(), &[("APP_DB__PROFILE__MAX", "1")]).await;
    let described = database.transaction().repeatable_read().read_only();
    let mut tx = described.label("by hand").begin().await.unwrap();
    let level = diesel::dsl::sql::<Text>("show transaction_isolation");
    assert_eq!(
        level.get_result::<String>(&mut tx).await.unwrap(),
        "repeatable read"
    );
    bump(&mut tx, 1).await.unwrap_err();
    let waiting = {
        let database = database.clone();
        tokio::spawn(async move {
            database
                .get_timeout(Duration::from_millis(50))
                .await
                .map(drop)
        })
    };
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("(by hand)"), "{error}");
    assert!(error.to_string().contains("guard.rs"), "{error}");
    drop(tx);
}

/// A caller that asks for a second connection while its guard holds the last one gets an error at once, inside a
/// task and outside of one.
#[tokio::test]
async fn a_checkout_beside_a_guard_is_nested() {
    let (db, _database) = prepared().await;
    let database = database(&db.url(), &[("APP_DB__PROFILE__MAX", "1")]).await;
    async fn assert_is_nested(database: &Database) {
        let mut tx = database.begin().await.unwrap();
        bump(&mut tx, 1).await.unwrap();
        let began = Instant::now();
        let error = database.get().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        assert!(
            error
                .to_string()
                .contains("inside work that holds one since"),
            "{error}"
        );
        let error = database.begin().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        assert!(began.elapsed() < Duration::from_secs(1));
        // Another task waits for its turn.
        let waiting = {
            let database = database.clone();
            tokio::spawn(async move { database.get().await.map(drop) })
        };
        wait_until("it waits", SOON, async || database.status()[0].waiting == 1).await;
        tx.commit().await.unwrap();
        waiting.await.unwrap().unwrap();
    }
    assert_is_nested(&database).await;
    let spawned = database.clone();
    let in_a_task =
        async { tokio::task::spawn_local(async move { assert_is_nested(&spawned).await }).await };
    tokio::task::LocalSet::new()
        .run_until(in_a_task)
        .await
        .unwrap();
    assert_eq!(database.status()[0].checkouts.nested, 4);

    // A guard that was handed to a task belongs to that task.
    let mut tx = database.begin().await.unwrap();
    let handed_over = tokio::spawn(async move {
        bump(&mut tx, 1).await.unwrap();
        tokio::task::yield_now().await;
        tx.commit().await.unwrap();
    });
    tokio::task::yield_now().await;
    timeout(SOON, handed_over).await.unwrap().unwrap();
    drop(database.get().await.unwrap());
}

/// Transactions side by side in one task are not one inside the other, though they are more than the pool has
/// connections.
#[tokio::test]
async fn guards_beside_each_other_take_turns() {
    let (db, _database) = prepared().await;
    let database = database(&db.url(), &[("APP_DB__PROFILE__MAX", "2")]).await;
    let transactions = (0..20).map(async |number| {
        let mut tx = database.begin().await?;
        bump(&mut tx, 1 + number % 10).await?;
        bump(&mut tx, 1 + number % 10).await?;
        tx.commit().await
    });
    let outcomes: Vec<Result<(), Error>> = join_all(transactions).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(sum(&db).await, 40);
}
