//! What a pooler says in the server's place, and what that proves.

use app_db::{Error, Kind};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Bouncer, BouncerOptions, PoolMode, TestDatabase, wait_until};

use super::told;
use crate::SOON;
use crate::transaction::database;

async fn bouncer_with(settings: &[(&str, &str)]) -> (TestDatabase, Bouncer) {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create table paid (a int); grant all on paid to public")
        .await
        .unwrap();
    let options = BouncerOptions::mode(PoolMode::Transaction).pool_size(1);
    let options = settings.iter().fold(options, |options, (name, value)| {
        options.setting(name, value)
    });
    let bouncer = Bouncer::start(db.server(), options).await.unwrap();
    (db, bouncer)
}

async fn is_asleep(db: &TestDatabase) -> bool {
    let asleep = "select exists (select from pg_stat_activity where datname = current_database() \
        and wait_event = 'PgSleep')";
    db.scalar(asleep).await.unwrap()
}

/// An INSERT that takes its time, and so can be interrupted after it has begun.
async fn slow_insert(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    Ok(conn
        .batch_execute("insert into paid select 1 from pg_sleep(20)")
        .await?)
}

/// pgbouncer/pgbouncer#714, brianc/node-postgres#2005: PgBouncer has lost its server, or is told to drop its client.
/// It does not know what became of the INSERT, and neither does its client.
#[tokio::test]
async fn a_poolers_last_words_on_a_write_leave_its_outcome_unknown() {
    for kills in [false, true] {
        let (db, bouncer) = bouncer_with(&[]).await;
        let database = database(&db.pooled_url(&bouncer), &[]).await;
        let mut conn = database.get().await.unwrap();
        let inserting = tokio::spawn(async move { slow_insert(&mut conn).await });
        wait_until("the INSERT runs", SOON, async || is_asleep(&db).await).await;
        match kills {
            true => bouncer.command(&format!("KILL {}", db.name())).await.unwrap(),
            false => db
                .sql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'")
                .await
                .unwrap(),
        }
        let error = inserting.await.unwrap().unwrap_err();
        match (kills, error.kind()) {
            // The server's own FATAL may come through first, and proves that the INSERT was undone.
            (false, Kind::Down) => assert_eq!(error.sqlstate().unwrap().code(), "57P01"),
            _ => assert_eq!(
                told(&error),
                (Kind::OutcomeUnknown, Some("08007".to_owned())),
                "{error:?}"
            ),
        }
    }
}

/// The same in a transaction of the helpers: without a COMMIT nothing can be there.
#[tokio::test]
async fn a_poolers_last_words_in_a_transaction_are_down() {
    let (db, bouncer) = bouncer_with(&[]).await;
    let database = database(&db.pooled_url(&bouncer), &[]).await;
    let working =
        tokio::spawn(async move { database.write(async |conn| slow_insert(conn).await).await });
    wait_until("the INSERT runs", SOON, async || is_asleep(&db).await).await;
    bouncer
        .command(&format!("KILL {}", db.name()))
        .await
        .unwrap();
    let error = working.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Down, "{error:?}");
}

/// MagicStack/asyncpg#1299: the pooler had no server connection for a client in time. Nothing has run, and later there
/// may be one.
#[tokio::test]
async fn a_wait_in_the_poolers_queue_that_was_too_long_is_busy() {
    let (db, bouncer) = bouncer_with(&[("query_wait_timeout", "1")]).await;
    let database = database(&db.pooled_url(&bouncer), &[]).await;
    let mut waiting = database.get().await.unwrap();
    waiting.batch_execute("select 1").await.unwrap();
    let mut busy = database.get().await.unwrap();
    let sleeping = tokio::spawn(async move { busy.batch_execute("select pg_sleep(20)").await });
    wait_until("the one server connection is taken", SOON, async || {
        is_asleep(&db).await
    })
    .await;
    let error = Error::from(
        waiting
            .batch_execute("insert into paid values (1)")
            .await
            .unwrap_err(),
    );
    assert_eq!(
        told(&error),
        (Kind::Busy, Some("08P01".to_owned())),
        "{error:?}"
    );
    assert!(error.report().contains("query_wait_timeout"), "{error:?}");
    sleeping.abort();
    let written: i64 = db.scalar("select count(*) from paid").await.unwrap();
    assert_eq!(written, 0);
}

/// The pooler has disconnected an idle client: the error is `Down`, with the pooler's message if it arrived.
#[tokio::test]
async fn a_client_that_the_pooler_has_sent_away_is_down() {
    let (db, bouncer) = bouncer_with(&[("client_idle_timeout", "1")]).await;
    let database = database(&db.pooled_url(&bouncer), &[]).await;
    let mut conn = database.get().await.unwrap();
    conn.batch_execute("select 1").await.unwrap();
    wait_until("the pooler has sent its client away", SOON, async || {
        let clients = bouncer.show("clients").await.unwrap();
        clients.iter().all(|client| client["database"] != db.name())
    })
    .await;
    let failed = diesel::sql_query("select 1").execute(&mut conn).await;
    let error = Error::from(failed.unwrap_err());
    assert_eq!(error.kind(), Kind::Down, "{error:?}");
}

/// The server itself ends the session of a plain connection. The query is not the reason.
#[tokio::test]
async fn a_plain_connection_whose_session_is_ended_is_down() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    for sql in [
        "select pg_sleep(20)",
        "do $$ begin perform pg_sleep(20); end $$",
    ] {
        let mut conn = database.get().await.unwrap();
        let sleeping = tokio::spawn(async move { conn.batch_execute(sql).await });
        wait_until("it sleeps", SOON, async || is_asleep(&db).await).await;
        db.sql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()")
            .await
            .unwrap();
        let error = Error::from(sleeping.await.unwrap().unwrap_err());
        assert_eq!(
            told(&error),
            (Kind::Down, Some("57P01".to_owned())),
            "{error:?}"
        );
    }
}
