//! The options of a transaction reach the server, and affect nobody else.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use app_db::{Database, Error, Transaction};
use diesel::QueryResult;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Bouncer, BouncerBinary, BouncerOptions, Fault, PoolMode, Proxy, TestDatabase};

use crate::transaction::{bump, database, prepared, value};

/// The settings concerned, as the server has them.
async fn settings(conn: &mut AsyncPgConnection) -> QueryResult<Vec<String>> {
    const NAMES: [&str; 5] = [
        "transaction_isolation",
        "transaction_read_only",
        "transaction_deferrable",
        "statement_timeout",
        "lock_timeout",
    ];
    let mut found = Vec::new();
    for name in NAMES {
        let value = diesel::dsl::sql::<Text>("select current_setting(")
            .bind::<Text, _>(name)
            .sql(")");
        found.push(value.get_result(conn).await?);
    }
    Ok(found)
}

const BUILT_IN: [&str; 5] = ["read committed", "off", "off", "30s", "0"];

fn every_option(transaction: Transaction<'_>) -> Transaction<'_> {
    transaction
        .serializable()
        .read_only()
        .deferrable()
        .statement_timeout(Duration::from_millis(1_250))
        .lock_timeout(Duration::from_micros(900_001))
}

/// There is one connection for all, so the next caller gets the one that was used before.
async fn assert_options_stay(database: &Database, outside: [&str; 5]) {
    for round in 0..2 {
        let during = every_option(database.transaction()).run(settings).await;
        assert_eq!(
            during.unwrap(),
            ["serializable", "on", "on", "1250ms", "901ms"],
            "round {round}"
        );
        let repeatable = database.transaction().repeatable_read().run(settings).await;
        assert_eq!(
            repeatable.unwrap(),
            ["repeatable read", "off", "off", "30s", "0"]
        );
        assert_eq!(database.write(settings).await.unwrap(), BUILT_IN);
        // A transaction that rolls back leaves nothing either.
        let failed: QueryResult<()> = every_option(database.transaction())
            .run(async |conn| conn.batch_execute("select 1/0").await)
            .await;
        failed.unwrap_err();
        let mut plain = database.get().await.unwrap();
        assert_eq!(settings(&mut plain).await.unwrap(), outside);
    }
    assert_eq!(database.status()[0].connects.opened, 1);
}

/// case R27: on connections of our own, with BEGIN held back and without.
#[tokio::test]
async fn options_reach_the_server_and_do_not_leak() {
    let db = TestDatabase::empty().await.unwrap();
    for defers in ["on", "off"] {
        let more = [
            ("APP_DB__PROFILE__MAX", "1"),
            ("APP_DB__PROFILE__DEFER_BEGIN", defers),
        ];
        assert_options_stay(&database(&db.url(), &more).await, BUILT_IN).await;
    }
}

/// case R27: through PgBouncer, where another client gets the very same server connection next.
#[tokio::test]
async fn options_do_not_leak_through_a_pooler() {
    for binary in BouncerBinary::all() {
        let db = TestDatabase::empty().await.unwrap();
        let options = BouncerOptions::mode(PoolMode::Transaction)
            .pool_size(1)
            .binary(binary);
        let bouncer = Bouncer::start(db.server(), options).await.unwrap();
        let more = [("APP_DB__PROFILE__MAX", "1")];
        let ours = database(&db.pooled_url(&bouncer), &more).await;
        let other = database(&db.pooled_url(&bouncer), &more).await;
        // Outside a transaction the pool itself holds the statement timeout.
        let outside = ["read committed", "off", "off", "0", "0"];
        assert_options_stay(&ours, outside).await;
        every_option(ours.transaction())
            .run(settings)
            .await
            .unwrap();
        assert_eq!(other.write(settings).await.unwrap(), BUILT_IN);
    }
}

/// A timeout of one transaction stops its statement. It is the work's own error, so nothing is tried
/// again.
#[tokio::test]
async fn timeouts_of_a_transaction_stop_its_statements() {
    let (db, database) = prepared().await;
    let attempts = AtomicU32::new(0);
    let bound = Duration::from_millis(50);
    let slow = database
        .transaction()
        .statement_timeout(bound)
        .run(async |conn| {
            attempts.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Error>(conn.batch_execute("select pg_sleep(25)").await?)
        })
        .await;
    assert_eq!(slow.unwrap_err().sqlstate().unwrap().code(), "57014");

    let mut holder = db.admin().await.unwrap();
    let held = holder.transaction().await.unwrap();
    held.batch_execute("select from t where id = 1 for update")
        .await
        .unwrap();
    let blocked = database
        .transaction()
        .lock_timeout(bound)
        .run(async |conn| {
            attempts.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Error>(bump(conn, 1).await?)
        })
        .await;
    assert_eq!(blocked.unwrap_err().sqlstate().unwrap().code(), "55P03");
    assert_eq!(value(&attempts), 2);
}

/// Timeouts travel with BEGIN, which travels with the first statement: they cost no round trip.
#[tokio::test]
async fn timeouts_cost_no_round_trip() {
    let (db, _direct) = prepared().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&db.proxied_url(&proxy), &[]).await;
    database.write(first).await.unwrap();
    proxy.set(Fault::Delay(ONE_WAY)).await;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        let bounded = database
            .transaction()
            .statement_timeout(Duration::from_secs(9))
            .lock_timeout(Duration::from_secs(9));
        bounded.run(first).await.unwrap();
        fastest = fastest.min(began.elapsed());
    }
    // The statement's and COMMIT's; a load of this machine slows some of them, not all.
    assert!(
        fastest >= ONE_WAY * 4 && fastest < ONE_WAY * 6,
        "{fastest:?}"
    );
}

async fn first(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    bump(conn, 1).await
}

const ONE_WAY: Duration = Duration::from_millis(30);
