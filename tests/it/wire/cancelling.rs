//! Futures dropped at every point: nothing half done stays, and no doubtful connection is kept.

use app_db::Database;
use diesel::QueryResult;
use harness::{TestDatabase, wait_until};

use super::{bump, sum, with_table};
use crate::SOON;
use crate::at_rest::watched;
use crate::cancellation::polled;
use crate::transaction::database;

async fn total(db: &TestDatabase) -> i64 {
    db.scalar("select sum(n)::bigint from t").await.unwrap()
}

async fn quiet(db: &TestDatabase, database: &Database) {
    wait_until("everything to come to rest", SOON, async || {
        let status = &database.status()[0];
        let open: i64 = db
            .scalar("select count(*) from pg_stat_activity where application_name = 'app-db' and datname = current_database() and state <> 'idle'")
            .await
            .unwrap();
        status.in_use == 0 && open == 0
    })
    .await;
}

/// case F1: both updates happen or none, and the next caller gets a healthy connection.
#[tokio::test]
async fn a_transaction_dropped_anywhere_leaves_nothing_half_done() {
    let db = TestDatabase::empty().await.unwrap();
    with_table(&db).await;
    let database = watched(
        &db,
        database(&db.url(), &[("APP_DB__PROFILE__MAX", "1")]).await,
    );
    let mut finished = 0;
    let mut polls = 1;
    while finished < 2 {
        let before = total(&db).await;
        let work = database.write(async |conn| {
            bump(conn, 1).await?;
            bump(conn, 2).await
        });
        let outcome = polled(polls, work).await;
        quiet(&db, &database).await;
        let gained = total(&db).await - before;
        match outcome {
            Some(outcome) => {
                assert_eq!((outcome, gained), (Ok(1), 2), "{polls} polls");
                finished += 1;
            }
            None => assert!(gained == 0 || gained == 2, "{gained} after {polls} polls"),
        }
        let seen = database.read(async |conn| sum(conn).await).await;
        assert_eq!(seen, Ok(before + gained), "{polls} polls");
        polls += 1;
        assert!(polls < 200);
    }
    database.rests().await;
}

/// The same for what is read, and for statements outside a transaction.
#[tokio::test]
async fn a_statement_dropped_anywhere_confuses_nobody() {
    let db = TestDatabase::empty().await.unwrap();
    with_table(&db).await;
    let database = database(&db.url(), &[("APP_DB__PROFILE__MAX", "1")]).await;
    for polls in 1..30 {
        let _read = polled(polls, database.read(async |conn| sum(conn).await)).await;
        let before = total(&db).await;
        let alone = async {
            let mut conn = database.get().await.unwrap();
            let first: QueryResult<usize> = bump(&mut conn, 3).await;
            (first, sum(&mut conn).await)
        };
        if let Some(outcome) = polled(polls, alone).await {
            assert_eq!(outcome, (Ok(1), Ok(before + 1)), "{polls} polls");
        }
        quiet(&db, &database).await;
        let mut conn = database.get().await.unwrap();
        let now = total(&db).await;
        assert_eq!(sum(&mut conn).await, Ok(now), "{polls} polls");
    }
}
