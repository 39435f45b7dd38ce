//! How a call ended, and what its caller is told: each row of `docs/errors.md` has its test.

mod before_commit;
mod poolers_words;
mod refused_login;
mod silence;
mod startup_refused;
mod table;

use std::time::Duration;

use app_db::{Database, Error, Kind, SqlState};
use diesel::QueryResult;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Fault, Proxy, TestDatabase};

use crate::transaction::{bump, database, n, prepared};

/// Kind and SQLSTATE of an error.
fn told(error: &Error) -> (Kind, Option<String>) {
    let sqlstate = error.sqlstate();
    (
        error.kind(),
        sqlstate.as_ref().map(SqlState::code).map(str::to_owned),
    )
}

async fn one_that_is_full(db: &TestDatabase) -> Database {
    let more = [
        ("APP_DB__PROFILE__MAX", "1"),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "100ms"),
    ];
    database(&db.url(), &more).await
}

/// What a service does that is written from the README: a closure returns `QueryResult`, and `?` makes
/// an `Error` of it. 120 of 200 requests were answered 500 instead of 503.
#[tokio::test]
async fn a_full_pool_is_busy_through_query_result() {
    let db = TestDatabase::empty().await.unwrap();
    let database = one_that_is_full(&db).await;
    let _held = database.get().await.unwrap();
    let asked = async || -> Result<i64, Error> {
        let balance: QueryResult<i64> = database.read(async |conn| n(conn, 1).await).await;
        Ok(balance?)
    };
    assert_eq!(told(&asked().await.unwrap_err()), (Kind::Busy, None));
}

/// The same of a conflict, of a COMMIT that was lost, and of a pool that is closed.
#[tokio::test]
async fn conflict_unknown_outcome_and_shutdown_keep_their_kinds_through_query_result() {
    let (db, _direct) = prepared().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&db.proxied_url(&proxy), &[]).await;
    let failing = async |code: &'static str| -> Result<(), Error> {
        let outcome: QueryResult<()> = database
            .transaction()
            .attempts(2)
            .run(async |conn| {
                bump(conn, 1).await?;
                let raising = format!("do $$ begin raise 'no' using errcode = '{code}'; end $$");
                conn.batch_execute(&raising).await
            })
            .await;
        Ok(outcome?)
    };
    for code in ["40001", "40P01"] {
        let error = failing(code).await.unwrap_err();
        assert_eq!(told(&error), (Kind::Conflict, Some(code.to_owned())));
        assert!(
            matches!(error, Error::Conflict { attempts: 2, .. }),
            "{error:?}"
        );
    }
    proxy.set(Fault::LoseReply(b"COMMIT")).await;
    let lost: QueryResult<usize> = database.write(async |conn| bump(conn, 1).await).await;
    let error = Error::from(lost.unwrap_err());
    assert_eq!(
        told(&error),
        (Kind::OutcomeUnknown, Some("08007".to_owned()))
    );
    assert!(matches!(error, Error::CommitUnknown(_)), "{error:?}");
    proxy.set(Fault::None).await;
    database.shutdown(Duration::ZERO).await;
    let closed: QueryResult<usize> = database.write(async |conn| bump(conn, 1).await).await;
    assert_eq!(
        told(&Error::from(closed.unwrap_err())),
        (Kind::ShuttingDown, None)
    );
}

/// What went wrong is known on a plain connection too, with the exact code.
#[tokio::test]
async fn a_plain_connection_has_the_servers_exact_code() {
    let (db, database) = prepared().await;
    db.sql("create table u (a int, constraint u_once unique (a)); insert into u values (1); grant all on u to public")
        .await
        .unwrap();
    let mut conn = database.get().await.unwrap();
    for (sql, kind, code) in [
        ("insert into u values (1)", Kind::Query, "23505"),
        ("select 1/0", Kind::Query, "22012"),
        (
            "do $$ begin raise 'no' using errcode = '40P01'; end $$",
            Kind::Conflict,
            "40P01",
        ),
    ] {
        for simple in [true, false] {
            let failed = match simple {
                true => conn.batch_execute(sql).await,
                false => diesel::sql_query(sql).execute(&mut conn).await.map(|_| ()),
            };
            let error = Error::from(failed.unwrap_err());
            assert_eq!(told(&error), (kind, Some(code.to_owned())), "{sql}");
            assert_eq!(error.is_unique_violation(), code == "23505");
            let named = (code == "23505").then_some("u_once");
            assert_eq!(error.constraint_name(), named);
        }
    }
}

/// The time that conflicts have used up is a conflict; else the caller gave too little time, and nothing
/// is wrong with its query.
#[tokio::test]
async fn a_timeout_has_the_kind_of_what_used_the_time_up() {
    let (_db, database) = prepared().await;
    let timed_out = async |conflicts: bool| {
        let transaction = database.transaction().timeout(Duration::from_millis(400));
        let outcome: Result<(), Error> = transaction
            .attempts(1_000)
            .run(async |conn: &mut AsyncPgConnection| {
                let sql = match conflicts {
                    true => "select pg_sleep(0.15); do $$ begin raise 'no' using errcode = '40001'; end $$",
                    false => "select pg_sleep(25)",
                };
                Ok(conn.batch_execute(sql).await?)
            })
            .await;
        outcome.unwrap_err()
    };
    let error = timed_out(true).await;
    assert_eq!(
        told(&error),
        (Kind::Conflict, Some("40001".to_owned())),
        "{error:?}"
    );
    let error = timed_out(false).await;
    assert_eq!(told(&error), (Kind::Busy, None), "{error:?}");
    assert!(error.report().contains("running the work"), "{error:?}");
}

/// A query that may write is not known to have changed nothing, and an answer that is lost after its
/// commit invites no second run. yugabyte/yugabyte-db#32073
#[tokio::test]
async fn a_select_that_writes_is_unknown_when_its_answer_is_lost() {
    let (db, _direct) = prepared().await;
    db.sql("create function pay() returns int language sql as 'update t set n = n + 1 where id = 1 returning 1'; create sequence s; \
            grant all on s to public; grant create on schema public to public")
        .await
        .unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&db.proxied_url(&proxy), &[]).await;
    for (sql, kind) in [
        ("select pay() /* needle */", Kind::OutcomeUnknown),
        (
            "with paid as (update t set n = n + 1 returning 1) select * from paid -- needle",
            Kind::OutcomeUnknown,
        ),
        ("select 1 as one into made -- needle", Kind::OutcomeUnknown),
        ("select nextval('s') -- needle", Kind::OutcomeUnknown),
        ("select count(*), max(n) from t -- needle", Kind::Down),
    ] {
        proxy.set(Fault::LoseReply(b"needle")).await;
        let mut conn = database.get().await.unwrap();
        let error = Error::from(conn.batch_execute(sql).await.unwrap_err());
        assert_eq!(error.kind(), kind, "{sql}: {error:?}");
        proxy.set(Fault::None).await;
    }
}

/// What the pool refuses is a failed statement: work that ignores it does not commit.
#[tokio::test]
async fn work_that_ignores_a_refusal_of_the_pool_does_not_commit() {
    for version in crate::transaction_pooler::Version::ALL {
        let (db, _direct) = prepared().await;
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let database = database(&db.pooled_url(&bouncer), &[]).await;
        let outcome: Result<(), Error> = database
            .write(async |conn| {
                let _ignored = conn.batch_execute("listen news").await;
                bump(conn, 1).await?;
                Ok(())
            })
            .await;
        assert!(outcome.is_err(), "{outcome:?}");
        let changed: i64 = db.scalar("select sum(n)::bigint from t").await.unwrap();
        assert_eq!(changed, 0);
    }
}

/// The first of many rows was taken, and the rest of the answer is waited for: plain diesel-async commits
/// such work too.
#[tokio::test]
async fn work_that_takes_the_first_of_many_rows_commits() {
    let (db, database) = prepared().await;
    // Longer than the quarter of a second that a connection has to come to rest.
    let slowly = "select g from (select g::bigint as g, pg_sleep(0.004) from generate_series(1, 200) g offset 0) s";
    let first: Result<i64, Error> = database
        .write(async |conn| {
            bump(conn, 1).await?;
            Ok(diesel::dsl::sql::<BigInt>(slowly).get_result(conn).await?)
        })
        .await;
    assert_eq!(first.unwrap(), 1);
    let changed: i64 = db.scalar("select n from t where id = 1").await.unwrap();
    assert_eq!(changed, 1);
}
