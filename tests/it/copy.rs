//! COPY, which is more than one request and its answer.
//!
//! diesel-async has no COPY of its own, so rows go through a migrator's client, over the same wire. A pool's
//! connection can only begin a COPY and leave it open.

use std::pin::{Pin, pin};

use app_db::{ConnectionExt, Error, Pool};
use bytes::Bytes;
use db_pool::{DirectUrl, Endpoint, connect_client};
use diesel::sql_types::BigInt;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::{SinkExt, TryStreamExt, poll};
use harness::{Bouncer, TestDatabase, wait_until};
use tokio_postgres::Client;

use crate::SOON;
use crate::at_rest::{NoPool, open_at, watched};
use crate::pool::{sized, url};
use crate::transaction::database;
use crate::transaction_pooler::Version;

const COPY_IN: &str = "copy t (id, filler) from stdin";

/// An empty table, and the ways to it: the server itself, and every PgBouncer in transaction mode.
async fn ways() -> (TestDatabase, Vec<(String, String)>, Vec<Bouncer>) {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create table t (id int primary key, filler text); grant all on t to public")
        .await
        .unwrap();
    let mut ways = vec![("direct".to_owned(), db.url())];
    let mut bouncers = Vec::new();
    for version in Version::ALL {
        if let Some(bouncer) = version.start(db.server()).await {
            ways.push((format!("{version:?}"), db.pooled_url(&bouncer)));
            bouncers.push(bouncer);
        }
    }
    (db, ways, bouncers)
}

async fn count(db: &TestDatabase) -> i64 {
    db.scalar("select count(*) from t").await.unwrap()
}

async fn client(way: &str) -> Client {
    let endpoint = Endpoint::from(DirectUrl::parse(way).unwrap());
    connect_client(&endpoint, SOON).await.unwrap()
}

/// Rows of a megabyte each, and their length all together.
fn large(ids: std::ops::Range<usize>) -> (Vec<Bytes>, usize) {
    let filler = "x".repeat(1 << 20);
    let rows: Vec<_> = ids
        .map(|id| Bytes::from(format!("{id}\t{filler}\n")))
        .collect();
    let length = rows.iter().map(Bytes::len).sum();
    (rows, length)
}

/// Large rows go in and come out unchanged, in a transaction, so that a pooler does not switch connections.
#[tokio::test]
async fn large_rows_go_in_and_come_out() {
    let (db, ways, _bouncers) = ways().await;
    for (name, way) in ways {
        let client = client(&way).await;
        let (rows, length) = large(0..10);
        client.batch_execute("begin").await.unwrap();
        let mut sink = pin!(client.copy_in::<_, Bytes>(COPY_IN).await.unwrap());
        for row in rows {
            sink.send(row).await.unwrap();
        }
        assert_eq!(sink.finish().await.unwrap(), 10, "{name}");
        let out = client.copy_out("copy t to stdout").await.unwrap();
        let came: usize = out
            .map_ok(|row| row.len())
            .try_fold(0, |sum, length| async move { Ok(sum + length) })
            .await
            .unwrap();
        assert_eq!(came, length, "{name}");
        client.batch_execute("commit").await.unwrap();
        assert_eq!(count(&db).await, 10, "{name}");
        db.sql("truncate t").await.unwrap();
    }
}

/// case F5: a bad row in the middle fails with the server's own code, and nothing of the COPY stays. The
/// connection answers again, also when the rows were never ended.
#[tokio::test]
async fn a_copy_that_fails_in_the_middle_leaves_nothing() {
    let (db, ways, _bouncers) = ways().await;
    let watch = watched(&db, NoPool);
    for (name, way) in ways {
        let client = client(&way).await;
        for (bad, code) in [("0\tagain\n", "23505"), ("seven\tno number\n", "22P02")] {
            client.batch_execute("begin").await.unwrap();
            let mut sink = pin!(client.copy_in::<_, Bytes>(COPY_IN).await.unwrap());
            for row in large(0..3).0 {
                sink.send(row).await.unwrap();
            }
            sink.send(Bytes::from(bad)).await.unwrap();
            let failed = sink.finish().await.unwrap_err();
            assert_eq!(failed.code().unwrap().code(), code, "{name}");
            client.batch_execute("rollback").await.unwrap();
        }
        client.batch_execute("begin").await.unwrap();
        {
            let mut sink = pin!(client.copy_in::<_, Bytes>(COPY_IN).await.unwrap());
            sink.send(Bytes::from("1\tnever ended\n")).await.unwrap();
            sink.flush().await.unwrap();
        }
        let after = client.simple_query("select 1").await.unwrap_err();
        assert_eq!(after.code().unwrap().code(), "25P02", "{name}");
        client.batch_execute("rollback").await.unwrap();
        assert_eq!(count(&db).await, 0, "{name}");
    }
    watch.rests().await;
}

async fn one(conn: &mut AsyncPgConnection) -> diesel::QueryResult<i64> {
    diesel::dsl::sql::<BigInt>("select 1::bigint")
        .get_result(conn)
        .await
}

/// How a pool's connection begins a COPY.
#[derive(Clone, Copy, Debug)]
enum How {
    Simple,
    Extended,
    /// As the first statement of a transaction, whose BEGIN it takes along.
    InTransaction,
}

impl How {
    const ALL: [Self; 3] = [Self::Simple, Self::Extended, Self::InTransaction];

    async fn begin(self, conn: &mut AsyncPgConnection, sql: &str) -> diesel::QueryResult<()> {
        match self {
            Self::Simple => conn.batch_execute(sql).await,
            Self::Extended => diesel::sql_query(sql).execute(conn).await.map(drop),
            Self::InTransaction => {
                conn.batch_execute("begin").await?;
                conn.batch_execute(sql).await
            }
        }
    }
}

/// case R31: a COPY that is left open costs only its own connection.
#[tokio::test]
async fn a_copy_left_open_costs_its_connection_and_nobody_else() {
    let (db, ways, _bouncers) = ways().await;
    for (name, way) in ways {
        let pool = open_at(&db, &way, sized(1)).await;
        // diesel closes a prepared statement that failed, and then the wire ends its COPY. Such a connection
        // is healthy, and stays.
        for (how, discarded) in [
            (How::Simple, 1),
            (How::InTransaction, 2),
            (How::Extended, 2),
        ] {
            let mut conn = pool.get().await.unwrap();
            how.begin(&mut conn, COPY_IN).await.unwrap_err();
            drop(conn);
            let mut next = pool.get().await.unwrap();
            assert_eq!(one(&mut next).await, Ok(1), "{name} {how:?}");
            drop(next);
            assert_eq!(pool.status().closed.discarded, discarded, "{name} {how:?}");
        }
        wait_until("no COPY is left on the server", SOON, async || {
            let backends = db.backends("app-db").await.unwrap();
            backends.iter().all(|backend| backend.state != "active")
        })
        .await;
        assert_eq!(count(&db).await, 0, "{name}");
        pool.rests().await;
    }
}

/// case R31: the future of a COPY dropped after any number of its steps.
#[tokio::test]
async fn a_copy_dropped_anywhere_leaves_nothing() {
    let (db, ways, _bouncers) = ways().await;
    // Where a cancel request arrives before its statement, the server notices at its next row.
    let slow = "copy (select pg_sleep(0.01) from generate_series(1, 300)) to stdout";
    for (name, way) in ways {
        let mut profile = sized(1);
        profile.checkout_timeout = SOON;
        let pool = open_at(&db, &way, profile).await;
        for (how, sql) in How::ALL
            .into_iter()
            .flat_map(|how| [(how, COPY_IN), (how, slow)])
        {
            for steps in [Some(1), Some(3), Some(20), None] {
                let mut conn = pool.get().await.unwrap();
                {
                    let copying = pin!(how.begin(&mut conn, sql));
                    match steps {
                        Some(steps) => step(copying, steps).await,
                        None => tokio::select! {
                            _refused = copying => {}
                            () = is_copying(&db) => {}
                        },
                    }
                }
                drop(conn);
                let next = pool.get().await;
                let mut next =
                    next.unwrap_or_else(|error| panic!("{name} {how:?} {sql} {steps:?}: {error}"));
                assert_eq!(one(&mut next).await, Ok(1), "{name} {how:?} {steps:?}");
            }
        }
        wait_until("no COPY is left on the server", SOON, async || {
            let backends = db.backends("app-db").await.unwrap();
            backends.iter().all(|backend| backend.state != "active")
        })
        .await;
        assert_eq!(count(&db).await, 0, "{name}");
        pool.rests().await;
    }
}

/// Polls a future at most `times` times, and lets all other tasks run in between.
async fn step<F: Future>(mut future: Pin<&mut F>, times: u32) {
    for _ in 0..times {
        if poll!(&mut future).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Waits until the server runs a COPY.
async fn is_copying(db: &TestDatabase) {
    wait_until("the server is at it", SOON, async || {
        let backends = db.backends("app-db").await.unwrap();
        let mut active = backends.iter().filter(|backend| backend.state == "active");
        // Statements that the wire adds may stand before it.
        active.any(|backend| backend.query.contains("copy "))
    })
    .await;
}

/// A client that continues on the same connection gets an answer, because the wire ends the COPY.
#[tokio::test]
async fn a_connection_goes_on_after_a_copy_that_it_could_not_feed() {
    let (db, ways, _bouncers) = ways().await;
    for (name, way) in ways {
        let pool = Pool::connect(url(&way), sized(1)).await.unwrap();
        let mut conn = pool.get().await.unwrap();
        for how in [How::Simple, How::Extended] {
            how.begin(&mut conn, COPY_IN).await.unwrap_err();
            let after = tokio::time::timeout(SOON, one(&mut conn)).await;
            let said = conn.last_error();
            assert_eq!(after, Ok(Ok(1)), "{name} {how:?} {said:?}");
            assert_eq!(said.unwrap().sqlstate().code(), "57014", "{name} {how:?}");
        }
        how_a_transaction_fails(&mut conn, &name).await;
        drop(conn);
        assert_eq!(one(&mut pool.get().await.unwrap()).await, Ok(1));
        assert_eq!(pool.status().closed.discarded, 0, "{name}");
        // In a helper the work fails, and the next work is not affected.
        let database = database(&way, &[]).await;
        let failed = database
            .write(async |conn| Ok::<_, Error>(conn.batch_execute(COPY_IN).await?))
            .await;
        failed.unwrap_err();
        assert_eq!(database.write(one).await, Ok(1), "{name}");
        assert_eq!(count(&db).await, 0, "{name}");
    }
}

async fn how_a_transaction_fails(conn: &mut AsyncPgConnection, name: &str) {
    let begun = How::InTransaction.begin(conn, COPY_IN);
    begun.await.unwrap_err();
    let after = tokio::time::timeout(SOON, one(conn)).await.unwrap();
    after.unwrap_err();
    let said = conn.last_error().unwrap();
    assert_eq!(said.sqlstate().code(), "25P02", "{name}");
    conn.batch_execute("rollback").await.unwrap();
}

/// Rows that nobody reads are skipped. Many of them cost the connection.
#[tokio::test]
async fn rows_that_nobody_takes_reach_nobody() {
    let (db, ways, _bouncers) = ways().await;
    db.sql("insert into t select g, repeat('x', 1 << 20) from generate_series(1, 10) g")
        .await
        .unwrap();
    for (name, way) in ways {
        let pool = Pool::connect(url(&way), sized(1)).await.unwrap();
        for how in How::ALL {
            let mut conn = pool.get().await.unwrap();
            let told = how.begin(&mut conn, "copy t to stdout").await;
            told.unwrap_err();
            assert_eq!(one(&mut conn).await, Ok(1), "{name} {how:?}");
            drop(conn);
            let mut next = pool.get().await.unwrap();
            assert_eq!(one(&mut next).await, Ok(1), "{name} {how:?}");
        }
    }
}
