//! A server that reports in German: codes, constraints, kinds and retries are what they are in English.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use app_db::{ConnectionExt, Database, Error, Kind, Pool};
use db_pool::{ConnectFailure, PoolError, ServerError};
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Cluster, ClusterOptions, TestDatabase};
use tokio::sync::Barrier;

use crate::at_rest::{NoPool, watched};
use crate::pool::{sized, url};
use crate::transaction::database;

/// A German server with a table of two rows.
async fn german() -> (Cluster, TestDatabase) {
    let options = ClusterOptions::default().language("de_DE");
    let cluster = Cluster::start(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    db.sql("create table t (id int primary key, n int not null default 0); insert into t values (1), (2); grant all on t to public")
        .await
        .unwrap();
    let refused = db.connect().await.unwrap().batch_execute("selec").await;
    let refused = refused.unwrap_err();
    assert_eq!(
        refused.as_db_error().unwrap().severity(),
        "FEHLER",
        "the server speaks no German: its translations are not installed. Debian's and Ubuntu's packages of \
         the server have them, unless dpkg is told to leave out /usr/share/locale; Fedora: \
         `dnf install postgresql-server glibc-langpack-de`"
    );
    (cluster, db)
}

async fn handle(db: &TestDatabase) -> Database {
    let timeout = ("APP_DB__PROFILE__STATEMENT_TIMEOUT", "100ms");
    database(&db.url(), &[timeout]).await
}

/// Runs one text in a transaction, and counts how often.
async fn failing(database: &Database, sql: &str) -> (Error, u32) {
    let attempts = AtomicU32::new(0);
    let outcome = database
        .write(async |conn| {
            attempts.fetch_add(1, Ordering::Relaxed);
            diesel::sql_query("select 1").execute(conn).await?;
            Ok::<_, Error>(conn.batch_execute(sql).await?)
        })
        .await;
    (outcome.unwrap_err(), attempts.into_inner())
}

fn assert_german(error: &ServerError, text: &str) {
    assert!(error.message().contains(text), "{error}");
}

/// case F5: neither diesel's classification of errors nor ours depends on the language.
#[tokio::test]
async fn a_unique_violation_keeps_its_constraint_in_german() {
    let (_cluster, db) = german().await;
    let database = watched(&db, handle(&db).await);
    let error = database
        .write(async |conn| {
            let failed = conn.batch_execute("insert into t values (1)").await;
            let said = conn.last_error().unwrap();
            assert_german(&said, "doppelter Schlüsselwert");
            assert_eq!(
                (said.sqlstate().code(), said.constraint(), said.severity()),
                ("23505", Some("t_pkey"), "ERROR")
            );
            Ok::<_, Error>(failed?)
        })
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "23505");
    assert_eq!(error.kind(), Kind::Query);
    let Error::Query(QueryError::DatabaseError(kind, info)) = error else {
        panic!("{error:?}");
    };
    assert!(matches!(kind, DatabaseErrorKind::UniqueViolation));
    assert_eq!(info.constraint_name(), Some("t_pkey"));
    database.rests().await;
}

/// case F5: a statement that ran too long is the caller's, and is not run again.
#[tokio::test]
async fn a_statement_timeout_is_57014_in_german() {
    let (_cluster, db) = german().await;
    let database = watched(&db, handle(&db).await);
    let (error, attempts) = failing(&database, "select pg_sleep(60)").await;
    assert_eq!(error.sqlstate().unwrap().code(), "57014");
    assert_eq!((error.kind(), attempts), (Kind::Query, 1));
    let Error::Query(error) = error else {
        panic!("{error:?}");
    };
    let said = ServerError::behind(&error).unwrap();
    assert_german(&said, "Zeitüberschreitung");
    database.rests().await;
}

/// case F5: what follows a failure in a transaction.
#[tokio::test]
async fn a_failed_transaction_is_25p02_in_german() {
    let (_cluster, db) = german().await;
    let attempts = AtomicU32::new(0);
    let database = watched(&db, handle(&db).await);
    let error = database
        .write(async |conn| {
            attempts.fetch_add(1, Ordering::Relaxed);
            conn.batch_execute("select 1/0").await.unwrap_err();
            let followed = diesel::sql_query("select 1").execute(conn).await;
            assert_german(&conn.last_error().unwrap(), "aktuelle Transaktion");
            Ok::<_, Error>(followed?)
        })
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "25P02");
    assert_eq!((error.kind(), attempts.into_inner()), (Kind::Query, 1));
    database.rests().await;
}

/// case F5, case R07: a session that is ended during its work means that the server is down. The work is not
/// retried if it may be done already.
#[tokio::test]
async fn an_ended_session_is_57p01_in_german() {
    let (_cluster, db) = german().await;
    let end_it = "select pg_terminate_backend(pg_backend_pid())";
    let attempts = AtomicU32::new(0);
    let database = watched(&db, handle(&db).await);
    let error = database
        .transaction()
        .run_once(async |conn| {
            attempts.fetch_add(1, Ordering::Relaxed);
            // One that had ended before its first statement would be replaced.
            bump(conn, 1).await?;
            Ok::<_, Error>(conn.batch_execute(end_it).await?)
        })
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate().unwrap().code(), "57P01");
    assert_eq!((error.kind(), attempts.into_inner()), (Kind::Down, 1));
    let Error::Query(error) = error else {
        panic!("{error:?}");
    };
    let said = ServerError::behind(&error).unwrap();
    assert_german(&said, "Anweisung des Administrators");
    assert_eq!(said.severity(), "FATAL");
    database.rests().await;
}

/// case F5, case R21: the victim of a deadlock is tried again, and both effects are there once.
#[tokio::test]
async fn a_deadlock_is_tried_again_in_german() {
    let (_cluster, db) = german().await;
    let database = watched(&db, database(&db.url(), &[]).await);
    let (both_have_one, attempts) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
    let tasks = [(1, 2), (2, 1)].map(|(first, second)| {
        let database = database.clone();
        let (barrier, attempts) = (Arc::clone(&both_have_one), Arc::clone(&attempts));
        tokio::spawn(async move {
            let work = async |conn: &mut AsyncPgConnection| {
                let nth = attempts.fetch_add(1, Ordering::SeqCst);
                bump(conn, first).await?;
                if nth < 2 {
                    barrier.wait().await;
                }
                let second = bump(conn, second).await;
                if second.is_err() {
                    let said = conn.last_error().unwrap();
                    assert_eq!(said.sqlstate().code(), "40P01");
                    assert_german(&said, "Verklemmung");
                }
                second
            };
            database.write(work).await
        })
    });
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(1));
    }
    assert_eq!(AtomicU32::load(&attempts, Ordering::SeqCst), 3);
    let counts: String = db
        .scalar("select string_agg(n::text, ',' order by id) from t")
        .await
        .unwrap();
    assert_eq!(counts, "2,2");
    database.rests().await;
}

async fn bump(conn: &mut AsyncPgConnection, id: i32) -> diesel::QueryResult<usize> {
    diesel::sql_query("update t set n = n + 1 where id = $1")
        .bind::<Integer, _>(id)
        .execute(conn)
        .await
}

/// case F5: a login that is refused because there are too many is no wrong password.
#[tokio::test]
async fn refused_logins_are_told_apart_in_german() {
    let (_cluster, db) = german().await;
    let watch = watched(&db, NoPool);
    let role = db.role().name();
    let limit = async |count: i32| {
        let alter = format!("alter role {role} connection limit {count}");
        db.server().sql(&alter).await.unwrap();
    };
    let refused = async || {
        let mut profile = sized(1);
        profile.checkout_timeout = Duration::from_millis(500);
        let outcome = match Pool::connect(url(&db.url()), profile).await {
            Ok(pool) => pool.get().await.map(drop),
            Err(error) => Err(error),
        };
        outcome.unwrap_err()
    };
    let seen = |error: &PoolError| {
        let because = error.connect_error().unwrap();
        (
            because.failure(),
            error.sqlstate().unwrap().code().to_owned(),
            error.kind(),
        )
    };
    limit(0).await;
    let too_many = refused().await;
    assert_eq!(
        seen(&too_many),
        (
            ConnectFailure::TooManyConnections,
            "53300".to_owned(),
            Kind::Down
        )
    );
    assert!(whole_text(&too_many).contains("zu viele Verbindungen"));
    limit(-1).await;
    let alter = format!("alter role {role} password 'another'");
    db.server().sql(&alter).await.unwrap();
    let wrong = refused().await;
    assert_eq!(
        seen(&wrong),
        (
            ConnectFailure::Authentication,
            "28P01".to_owned(),
            Kind::Configuration
        )
    );
    watch.rests().await;
}

/// The error with what caused it.
fn whole_text(error: &PoolError) -> String {
    format!("{error}: {}", error.connect_error().unwrap())
}
