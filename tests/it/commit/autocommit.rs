//! Statements outside the helpers whose answer is lost.

use app_db::{Error, Kind};
use diesel::QueryResult;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Fault, Proxy};

use super::{committed, counters};
use crate::transaction::database;

async fn named(conn: &mut AsyncPgConnection, name: &str) -> QueryResult<usize> {
    diesel::sql_query("update t set n = n + 1 where id = 1 and $1 <> ''")
        .bind::<Text, _>(name)
        .execute(conn)
        .await
}

/// An autocommit statement whose answer is lost may have taken effect, and the error says so.
#[tokio::test]
async fn a_lost_autocommit_statement_is_unknown() {
    for (fault, effect) in [
        (Fault::LoseRequest(b"needle"), 0),
        (Fault::LoseReply(b"needle"), 1),
    ] {
        let (db, _direct) = counters().await;
        let proxy = Proxy::start(db.server().port()).await.unwrap();
        let database = database(&db.proxied_url(&proxy), &[]).await;
        for simple in [false, true] {
            proxy.set(Fault::None).await;
            let mut conn = database.get().await.unwrap();
            named(&mut conn, "prepared").await.unwrap();
            let before = committed(&db).await;
            proxy.set(fault.clone()).await;
            let lost = match simple {
                false => named(&mut conn, "needle").await.map(|_count| ()),
                true => {
                    conn.batch_execute("update t set n = n + 1 where id = 1 -- needle")
                        .await
                }
            };
            let error = Error::from(lost.unwrap_err());
            assert_eq!(error.kind(), Kind::OutcomeUnknown, "{error:?}");
            assert_eq!(error.sqlstate().unwrap().code(), "08007");
            assert_eq!(committed(&db).await - before, effect, "{fault:?}");
        }
    }
}

/// If nothing can have taken effect, the outcome is not unknown: a plain SELECT, and work in an open
/// transaction.
#[tokio::test]
async fn what_was_lost_without_effect_is_down() {
    let (db, _direct) = counters().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&db.proxied_url(&proxy), &[]).await;
    proxy.set(Fault::LoseReply(b"needle")).await;
    let mut conn = database.get().await.unwrap();
    let read = conn.batch_execute("select 1 -- needle").await;
    assert_eq!(Error::from(read.unwrap_err()).kind(), Kind::Down);
    let mut conn = database.get().await.unwrap();
    let open = conn
        .transaction(async |conn| {
            named(conn, "begun").await?;
            named(conn, "needle").await
        })
        .await;
    assert_eq!(Error::from(open.unwrap_err()).kind(), Kind::Down);
    let work = database
        .write(async |conn| Ok::<_, Error>(named(conn, "needle").await?))
        .await;
    assert_eq!(work.unwrap_err().kind(), Kind::Down);
    assert_eq!(committed(&db).await, 0);
}

/// diesel's own COMMIT on a plain connection is as unknown as a COMMIT of the helpers.
#[tokio::test]
async fn a_lost_commit_of_a_plain_transaction_is_unknown() {
    let (db, _direct) = counters().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&db.proxied_url(&proxy), &[]).await;
    proxy.set(Fault::LoseReply(b"COMMIT")).await;
    let mut conn = database.get().await.unwrap();
    let lost = conn
        .transaction(async |conn| named(conn, "begun").await)
        .await;
    assert_eq!(Error::from(lost.unwrap_err()).kind(), Kind::OutcomeUnknown);
    assert_eq!(committed(&db).await, 1);
}
