//! Every failure keeps the server's exact code, although diesel drops it.

use app_db::{ConnectionExt, Error, Kind};
use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::TestDatabase;

use crate::at_rest::watched;
use crate::transaction::database;

async fn failing(conn: &mut AsyncPgConnection, sql: &str) -> Result<(), Error> {
    Ok(conn.batch_execute(sql).await?)
}

fn raising(code: &str) -> String {
    format!(
        "do $$ begin raise exception 'niemand vergleicht Texte' using errcode = '{code}'; end $$"
    )
}

/// case F5: codes that diesel does not keep apart are exact in the error of the helper and inside the work.
#[tokio::test]
async fn a_failing_statement_keeps_its_code() {
    let db = TestDatabase::empty().await.unwrap();
    let database = watched(
        &db,
        database(
            &db.url(),
            &[("APP_DB__PROFILE__STATEMENT_TIMEOUT", "100ms")],
        )
        .await,
    );
    for (sql, code) in [
        ("select pg_sleep(60)".to_owned(), "57014"),
        ("select 1/0".to_owned(), "22012"),
        ("selec 1".to_owned(), "42601"),
        ("select * from nowhere".to_owned(), "42P01"),
        (raising("53300"), "53300"),
        (raising("55P03"), "55P03"),
        (raising("23505"), "23505"),
        (raising("P0001"), "P0001"),
    ] {
        let error = database
            .write(async |conn| {
                let failed = failing(conn, &sql).await;
                assert_eq!(conn.last_error().unwrap().sqlstate().code(), code);
                failed
            })
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Query(_)), "{error:?}");
        assert_eq!(error.sqlstate().unwrap().code(), code);
        assert_eq!(error.kind(), Kind::Query);
    }
    database.rests().await;
}

/// case F5: a prepared statement's failure, and one in a transaction that has failed already.
#[tokio::test]
async fn a_statement_in_a_failed_transaction_is_25p02() {
    let db = TestDatabase::empty().await.unwrap();
    let database = watched(&db, database(&db.url(), &[]).await);
    let error = database
        .write(async |conn| {
            let _ignored = diesel::sql_query("select 1/$1")
                .bind::<Integer, _>(0)
                .execute(conn)
                .await;
            assert_eq!(conn.last_error().unwrap().sqlstate().code(), "22012");
            diesel::sql_query("select 1")
                .execute(conn)
                .await
                .map_err(Error::from)
        })
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "25P02");
    database.rests().await;
}

/// case F5, case R07: a session that is ended in its work.
#[tokio::test]
async fn an_ended_session_is_57p01() {
    let db = TestDatabase::empty().await.unwrap();
    let database = watched(&db, database(&db.url(), &[]).await);
    let error = database
        .transaction()
        .run_once(async |conn| {
            diesel::sql_query("select 1").execute(conn).await?;
            db.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where application_name = 'app-db' and datname = current_database()",
            )
            .await
            .unwrap();
            diesel::sql_query("select pg_sleep(60)")
                .execute(conn)
                .await
                .map_err(Error::from)
        })
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "57P01");
    assert_eq!(error.kind(), Kind::Down);
    database.rests().await;
}

/// An error that appears only at COMMIT.
#[tokio::test]
async fn a_deferred_constraint_keeps_its_code() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql(
        "create table parent (id int primary key); \
         create table child (p int references parent deferrable initially deferred); \
         grant all on parent, child to public",
    )
    .await
    .unwrap();
    let database = database(&db.url(), &[]).await;
    let outcome: Result<(), Error> = database
        .write(async |conn| failing(conn, "insert into child values (1)").await)
        .await;
    let error = outcome.unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "23503");
    assert!(matches!(
        error,
        Error::Query(QueryError::DatabaseError(
            DatabaseErrorKind::ForeignKeyViolation,
            _
        ))
    ));
}

/// An error after the first rows, which diesel's own event does not see.
#[tokio::test]
async fn an_error_after_the_first_rows_keeps_its_code() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let sql = "select 100 / (51 - n) from generate_series(1, 100) n, repeat('x', 100)";
    let error = database
        .read(async |conn| {
            let rows: QueryResult<Vec<i32>> = diesel::dsl::sql::<Integer>(sql).load(conn).await;
            rows.map_err(Error::from)
        })
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "22012");
}

/// An own error type, and diesel's: the code is asked for inside the work.
#[tokio::test]
async fn an_own_error_type_can_carry_the_code() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let outcome: QueryResult<()> = database
        .write(async |conn| {
            let failed = conn
                .batch_execute("create table pg_class_ (id nosuchtype)")
                .await;
            let said = conn.last_error().unwrap();
            assert_eq!(
                (said.sqlstate().code(), said.routine()),
                ("42704", Some("typenameType"))
            );
            failed
        })
        .await;
    outcome.unwrap_err();
}
