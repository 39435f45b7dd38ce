//! What statements have cost, by fingerprint.

use app_db::{SqlState, StatementStats};
use diesel::QueryResult;
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::TestDatabase;

use crate::transaction::database;

async fn divide(conn: &mut AsyncPgConnection, by: i32) -> QueryResult<usize> {
    diesel::sql_query("select g / $1 from generate_series(1, 3) g")
        .bind::<Integer, _>(by)
        .execute(conn)
        .await
}

/// req 4.33: executions, rows, failures by code and quantiles over every pool, until they are reset.
#[tokio::test]
async fn statements_are_counted_by_fingerprint() {
    let db = TestDatabase::empty().await.unwrap();
    let batch = [("APP_DB__POOLS__BATCH__MAX", "1")];
    let database = database(&db.url(), &batch).await;
    let batch = database.pool("batch").unwrap();
    for _ in 0..3 {
        let done: QueryResult<usize> = database.write(async |conn| divide(conn, 1).await).await;
        done.unwrap();
        divide(&mut batch.get().await.unwrap(), 1).await.unwrap();
    }
    let failed: QueryResult<usize> = database.write(async |conn| divide(conn, 0).await).await;
    failed.unwrap_err();
    let sleeping = diesel::sql_query("select pg_sleep(0.2)");
    sleeping
        .execute(&mut batch.get().await.unwrap())
        .await
        .unwrap();

    let statements = database.statements();
    assert_eq!(&*statements[0].text, "select pg_sleep(?)");
    assert!(statements[0].times.p50.as_millis() >= 195, "{statements:?}");
    assert!(statements[0].total.as_millis() >= 200);
    let of = |pool: &str| -> StatementStats {
        let is_it = |one: &&StatementStats| &*one.pool == pool && one.text.contains("g / ?");
        statements.iter().find(is_it).unwrap().clone()
    };
    let (write, batch) = (of("write"), of("batch"));
    assert_eq!((write.count, write.rows), (4, 9));
    assert_eq!(write.errors, [(SqlState::DIVISION_BY_ZERO, 1)]);
    assert_eq!((batch.count, batch.rows), (3, 9));
    assert!(batch.errors.is_empty());
    assert_eq!(write.fingerprint, batch.fingerprint);
    assert!(write.times.max >= write.times.p95 && write.times.p95 >= write.times.p50);

    database.reset_statements();
    assert!(database.statements().is_empty());
    // The connection still knows the text, and starts to count again.
    let done: QueryResult<usize> = database.write(async |conn| divide(conn, 1).await).await;
    done.unwrap();
    let again = database.statements();
    let again = again.iter().find(|one| one.text.contains("g / ?")).unwrap();
    assert_eq!((again.count, again.rows), (1, 3));
}

/// Statistics can be switched off.
#[tokio::test]
async fn nothing_is_counted_where_nobody_wants_it() {
    let db = TestDatabase::empty().await.unwrap();
    let off = [("APP_DB__PROFILE__STATEMENT_STATISTICS", "off")];
    let database = database(&db.url(), &off).await;
    let done: QueryResult<usize> = database.write(async |conn| divide(conn, 1).await).await;
    done.unwrap();
    assert!(database.statements().is_empty());
}
