//! A session that ended while it was idle causes no error. A session that is ended during its work does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use app_db::{Database, Error};
use diesel::QueryResult;
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Fault, Proxy, TestDatabase, wait_until};

use crate::SOON;
use crate::at_rest::watched;
use crate::transaction::database;

async fn one(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    diesel::dsl::sql::<Integer>("select 1")
        .get_result(conn)
        .await
}

async fn terminate_all(db: &TestDatabase) {
    db.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = current_database() and application_name = 'app-db'",
    )
    .await
    .unwrap();
}

/// Writes with one statement; `None` when it failed so late that it has perhaps been ended in its work.
///
/// A statement that fails within 20 ms counts as one that never ran, and a busy machine can be slower.
async fn write_one(database: &Database, held_back_by: Option<&Proxy>) -> Option<QueryResult<i32>> {
    let late = AtomicBool::new(false);
    let outcome = database
        .write(async |conn| {
            let began = Instant::now();
            if let Some(proxy) = held_back_by {
                proxy.set(Fault::None).await;
            }
            let outcome = one(conn).await;
            if outcome.is_err() && began.elapsed() > Duration::from_millis(10) {
                late.store(true, Ordering::SeqCst);
            }
            outcome
        })
        .await;
    (!late.into_inner()).then_some(outcome)
}

/// case R06: the end of a session may reach us at any moment around the checkout.
#[tokio::test]
async fn sessions_ended_while_idle_fail_no_transaction() {
    let db = TestDatabase::empty().await.unwrap();
    let database = watched(&db, database(&db.url(), &[]).await);
    let mut judged = 0;
    for round in 0..25 {
        drop(database.get().await.unwrap());
        terminate_all(&db).await;
        if let Some(outcome) = write_one(&database, None).await {
            assert_eq!(outcome, Ok(1), "round {round}");
            judged += 1;
        }
    }
    assert!(judged > 12, "{judged} rounds were quick enough to tell");
    assert!(database.status()[0].connects.opened > 12, "they did end");
    database.rests().await;
}

/// case R06: if a BEGIN is the first request to notice the end, it is sent again on another connection.
#[tokio::test]
async fn a_begin_on_an_ended_session_is_tried_again() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let sent_at_once = ("APP_DB__PROFILE__DEFER_BEGIN", "off");
    let database = watched(
        &db,
        database(&db.proxied_url(&proxy), &[sent_at_once]).await,
    );
    drop(database.get().await.unwrap());
    end_unnoticed(&db, &proxy).await;
    let ran = Arc::new(AtomicU32::new(0));
    let writing = {
        let (database, ran): (Database, _) = (database.clone(), Arc::clone(&ran));
        tokio::spawn(async move {
            database
                .write(async |conn| {
                    ran.fetch_add(1, Ordering::SeqCst);
                    one(conn).await
                })
                .await
        })
    };
    wait_until("the ended session is handed out", SOON, async || {
        database.status()[0].in_use == 1
    })
    .await;
    proxy.set(Fault::None).await;
    assert_eq!(writing.await.unwrap(), Ok(1));
    assert_eq!(AtomicU32::load(&ran, Ordering::SeqCst), 1);
    assert_eq!(database.status()[0].connects.opened, 2);
    database.rests().await;
}

/// case R06: the same holds for a first statement, with the BEGIN that travels with it.
#[tokio::test]
async fn a_first_statement_on_an_ended_session_is_tried_again() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = watched(&db, database(&db.proxied_url(&proxy), &[]).await);
    let mut judged = 0;
    for round in 0..20 {
        // Answered last, so that nothing is left unanswered when replies are held back.
        let mut conn = database.get().await.unwrap();
        conn.batch_execute("select 1").await.unwrap();
        drop(conn);
        end_unnoticed(&db, &proxy).await;
        if let Some(outcome) = write_one(&database, Some(&proxy)).await {
            assert_eq!(outcome, Ok(1), "round {round}");
            judged += 1;
        }
    }
    assert!(judged > 0, "every round was too slow to tell");
    assert!(database.status()[0].connects.opened > 10, "they did end");
    database.rests().await;
}

/// case R07: work whose session was ended may itself be the reason for that, so it does not run again.
#[tokio::test]
async fn a_session_ended_in_its_work_is_not_tried_again() {
    let db = TestDatabase::empty().await.unwrap();
    let database = watched(&db, database(&db.url(), &[]).await);
    let attempts = AtomicU32::new(0);
    let outcome: Result<(), Error> = database
        .write(async |conn| {
            attempts.fetch_add(1, Ordering::SeqCst);
            one(conn).await?;
            Ok(conn
                .batch_execute("select pg_terminate_backend(pg_backend_pid())")
                .await?)
        })
        .await;
    outcome.unwrap_err();
    assert_eq!(attempts.into_inner(), 1);
    database.rests().await;
}

/// Ends every session on the server, and keeps the server's final messages from reaching us.
async fn end_unnoticed(db: &TestDatabase, proxy: &Proxy) {
    proxy.set(Fault::HoldReplies).await;
    terminate_all(db).await;
    wait_until("the server has ended them", SOON, async || {
        db.backends("app-db").await.unwrap().is_empty()
    })
    .await;
}
