//! Conversations that are interleaved on one connection, through `&AsyncPgConnection`.

use app_db::Pool;
use diesel::QueryResult;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::join3;
use harness::TestDatabase;

use super::Version;
use crate::pool::{sized, url};

/// An answer that nobody else gets, by a text that is known or, every third time, by one that is new.
async fn echo(conn: &AsyncPgConnection, n: i64) -> QueryResult<i64> {
    let echo = if n % 3 == 0 {
        format!("select {n} * 0 + ")
    } else {
        "select ".to_owned()
    };
    let echo = diesel::dsl::sql::<BigInt>(&echo).bind::<BigInt, _>(n);
    echo.get_result(&mut &*conn).await
}

/// One of the conversations: each of its questions waits for the answer to the one before.
async fn converse(conn: &AsyncPgConnection, base: i64, fails: bool) {
    for n in base..base + 9 {
        assert_eq!(echo(conn, n).await, Ok(n));
        if fails && n % 4 == 0 {
            let failed = diesel::dsl::sql::<BigInt>("select 1 / ").bind::<BigInt, _>(0);
            let failed: QueryResult<i64> = failed.get_result(&mut &*conn).await;
            assert_eq!(failed.unwrap_err().to_string(), "division by zero");
        }
        if n % 5 == 0 {
            let mut conn = conn;
            conn.batch_execute("select 'another protocol'; select 2")
                .await
                .unwrap();
        }
    }
}

async fn interleaved(conn: &AsyncPgConnection, round: i64, fails: bool) {
    let base = round * 1000;
    let (one, two, three) = (base + 100, base + 200, base + 300);
    join3(
        converse(conn, one, fails),
        converse(conn, two, false),
        converse(conn, three, fails),
    )
    .await;
}

/// case R32: each answer of the server, the pooler and the wire reaches the conversation that asked, while
/// another connection shares the sessions.
#[tokio::test]
async fn interleaved_conversations_through_a_pooler_keep_their_order() {
    let db = TestDatabase::empty().await.unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let pool = Pool::connect(url(&db.pooled_url(&bouncer)), sized(2))
            .await
            .unwrap();
        let mut first = pool.get().await.unwrap();
        let mut second = pool.get().await.unwrap();
        for round in 0..4 {
            let in_transaction = round % 2 == 1;
            if in_transaction {
                first.batch_execute("begin").await.unwrap();
                second.batch_execute("begin read only").await.unwrap();
            }
            let both = async {
                let (one, two) = (&first, &second);
                tokio::join!(
                    interleaved(one, round, !in_transaction),
                    interleaved(two, 10 + round, !in_transaction)
                );
            };
            tokio::time::timeout(crate::SOON, both)
                .await
                .unwrap_or_else(|_late| panic!("{version:?}, round {round}: an answer is missing"));
            if in_transaction {
                first.batch_execute("commit").await.unwrap();
                second.batch_execute("rollback").await.unwrap();
            }
        }
        drop((first, second));
        assert_eq!(pool.status().closed.discarded, 0, "{version:?}");
    }
}
