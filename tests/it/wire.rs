//! The wire against a real server: what it saves, and that nothing else changes.

mod cancelling;
mod lone_reads;
mod meaning;
mod outdated;
mod sessions;
mod statements;
mod transactions;

use app_db::{Pool, PoolProfile};
use diesel::QueryResult;
use diesel::sql_types::{BigInt, Integer};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::{Cluster, ClusterOptions, TestDatabase};

use crate::pool::{sized, url};

/// A database with a table of ten rows, and a pool of one connection to it.
async fn prepared(profile: PoolProfile) -> (TestDatabase, Pool) {
    let db = TestDatabase::empty().await.unwrap();
    with_table(&db).await;
    let pool = Pool::connect(url(&db.url()), profile).await.unwrap();
    (db, pool)
}

async fn with_table(db: &TestDatabase) {
    db.sql(
        "create table t (id int primary key, n bigint not null default 0); \
         insert into t select g, 0 from generate_series(1, 10) g; grant all on t to public",
    )
    .await
    .unwrap();
}

/// A server that writes down every statement, with its kind of message.
async fn talkative() -> Cluster {
    let options = ClusterOptions::default().setting("log_min_duration_statement", "0");
    Cluster::start(options).await.unwrap()
}

/// How many lines of the server's log have both texts.
fn lines(cluster: &Cluster, one: &str, other: &str) -> usize {
    let text = cluster.log_text();
    let has_both = |line: &&str| line.contains(one) && line.contains(other);
    text.lines().filter(has_both).count()
}

async fn bump(conn: &mut AsyncPgConnection, id: i32) -> QueryResult<usize> {
    diesel::sql_query("update t set n = n + 1 where id = $1")
        .bind::<Integer, _>(id)
        .execute(conn)
        .await
}

async fn sum(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    diesel::dsl::sql::<BigInt>("select sum(n)::bigint from t")
        .get_result(conn)
        .await
}

/// One connection, which is kept.
fn one() -> PoolProfile {
    sized(1)
}
