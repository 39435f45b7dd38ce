//! Reads that need no transaction get none, as the server saw it.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::TestDatabase;

use super::{lines, sum, talkative, with_table};
use crate::transaction::database;

/// One query by `read` is one statement on the server.
#[tokio::test]
async fn one_query_is_one_statement() {
    let cluster = talkative().await;
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    with_table(&db).await;
    let database = database(&db.url(), &[("APP_DB__PROFILE__MAX", "1")]).await;
    let before = lines(&cluster, "BEGIN", db.name()) + lines(&cluster, "COMMIT", db.name());
    for _ in 0..3 {
        assert_eq!(
            database.read(async |conn| sum(conn).await).await.unwrap(),
            0
        );
    }
    let after = lines(&cluster, "BEGIN", db.name()) + lines(&cluster, "COMMIT", db.name());
    assert_eq!(after, before, "{}", cluster.log_text());
}

/// A read that may not write may not write without BEGIN either.
#[tokio::test]
async fn a_read_cannot_write() {
    let db = TestDatabase::empty().await.unwrap();
    with_table(&db).await;
    db.sql("create function pay() returns bigint language sql as 'update t set n = n + 1 returning n'; \
            create sequence s; grant all on sequence s to public")
        .await
        .unwrap();
    let database = database(&db.url(), &[]).await;
    for write in [
        "select pay() as n",
        "select nextval('s') as n",
        "with a as (update t set n = n + 1 returning n) select n from a",
        "update t set n = n + 1 returning n",
        "insert into t values (11, 1) returning n",
    ] {
        #[derive(QueryableByName)]
        struct N {
            #[diesel(sql_type = BigInt)]
            #[expect(dead_code, reason = "it is never returned")]
            n: i64,
        }
        let refused: Result<N, app_db::Error> = database
            .read(async |conn: &mut AsyncPgConnection| {
                sum(conn).await?;
                Ok::<N, app_db::Error>(diesel::sql_query(write).get_result(conn).await?)
            })
            .await;
        let code = refused.err().and_then(|error| error.sqlstate());
        let code = code.map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("25006"), "{write}");
    }
    assert_eq!(
        database.read(async |conn| sum(conn).await).await.unwrap(),
        0
    );
}

/// What belongs to a transaction is the same for all of it, also behind queries that went before its BEGIN.
#[tokio::test]
async fn what_belongs_to_a_transaction_is_the_same_for_all_of_it() {
    let db = TestDatabase::empty().await.unwrap();
    with_table(&db).await;
    let database = database(&db.url(), &[]).await;
    let at = async |conn: &mut AsyncPgConnection| -> QueryResult<String> {
        diesel::dsl::sql::<Text>("select now()::text")
            .get_result(conn)
            .await
    };
    let times = database
        .read(async |conn: &mut AsyncPgConnection| {
            sum(conn).await?;
            let first = at(conn).await?;
            sum(conn).await?;
            QueryResult::Ok((first, at(conn).await?))
        })
        .await;
    let (first, second) = times.unwrap();
    assert_eq!(first, second);
    // A failure fails all of it, also where nothing was begun on the server.
    let failed: Result<(), app_db::Error> = database
        .read(async |conn: &mut AsyncPgConnection| {
            let divided = conn
                .batch_execute("select 1 / (select count(*)::int - 10 from t)")
                .await;
            assert!(divided.is_err());
            sum(conn).await?;
            Ok::<(), app_db::Error>(())
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(
        database.read(async |conn| sum(conn).await).await.unwrap(),
        0
    );
}
