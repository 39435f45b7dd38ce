//! Plans that a PgBouncer keeps by text for everybody, and that a change of a table makes stale.

use app_db::Pool;
use diesel::prelude::*;
use diesel::sql_types::{Float, Integer};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::{Bouncer, TestDatabase};
use tokio_postgres::{Client, NoTls};

use super::Version;
use crate::at_rest::watched;
use crate::pool::{sized, url};

/// A PgBouncer that keeps statements, before a table of one row whose `v` is an int4. If the machine has no
/// such program, the test says so and does nothing.
async fn kept() -> Option<(TestDatabase, Bouncer)> {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create table t (id int primary key, v int4); grant all on t to public; insert into t values (1, 1)")
        .await
        .unwrap();
    let bouncer = Version::NewKeeping.start(db.server()).await?;
    Some((db, bouncer))
}

async fn pool_through(db: &TestDatabase, bouncer: &Bouncer) -> Pool {
    let pool = Pool::connect(url(&db.pooled_url(bouncer)), sized(2)).await;
    pool.unwrap()
}

/// Another client of the same PgBouncer, in a transaction: it keeps one server connection from the rest.
async fn occupy(db: &TestDatabase, bouncer: &Bouncer) -> Client {
    let (client, connection) = tokio_postgres::connect(&db.pooled_url(bouncer), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client.batch_execute("begin; select 1").await.unwrap();
    client
}

async fn become_type(db: &TestDatabase, name: &str) {
    db.sql(&format!("alter table t alter v type {name}"))
        .await
        .unwrap();
}

diesel::table! {
    t (id) {
        id -> Int4,
        v -> Int4,
    }
}

#[derive(QueryableByName)]
struct V {
    #[diesel(sql_type = Integer)]
    v: i32,
}

/// With a statement that diesel keeps under one name.
async fn by_dsl(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    t::table.find(1).select(t::v).first(conn).await
}

/// With a statement that diesel prepares each time.
async fn by_text(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    let row = diesel::sql_query("select v from t where id = 1");
    row.get_result::<V>(conn).await.map(|row| row.v)
}

/// The same text, by a program that knows of the new type.
async fn as_float(conn: &mut AsyncPgConnection) -> QueryResult<f32> {
    let float = diesel::dsl::sql::<Float>("select v from t where id = 1");
    float.get_result(conn).await
}

/// Asserts that the value is still an integer, or an error: 1065353216 is 1.0 misread.
fn assert_not_misread(seen: &QueryResult<i32>, how: &str) {
    assert!(matches!(seen, Err(_) | Ok(1)), "{how}: {seen:?}");
}

/// case F2: PgBouncer prepares a known text on a server connection that has not had it yet, so that its plan
/// is newer there than what the client was told.
#[tokio::test]
async fn a_text_is_not_decoded_by_its_old_description_on_another_server_connection() {
    let Some((db, bouncer)) = kept().await else {
        return;
    };
    let pool = watched(&db, pool_through(&db, &bouncer).await);
    let mut conn = pool.get().await.unwrap();
    for _ in 0..2 {
        assert_eq!(by_dsl(&mut conn).await, Ok(1));
        assert_eq!(by_text(&mut conn).await, Ok(1));
    }
    become_type(&db, "float4").await;
    let elsewhere = occupy(&db, &bouncer).await;
    assert_not_misread(&by_dsl(&mut conn).await, "dsl");
    assert_not_misread(&by_text(&mut conn).await, "text");
    drop(elsewhere);
    for _ in 0..3 {
        assert_not_misread(&by_dsl(&mut conn).await, "dsl again");
    }
    assert_eq!(as_float(&mut conn).await, Ok(1.0));
    drop(conn);
    pool.rests().await;
}

/// case F2: a plan that is stale in PgBouncer stays stale. A client that runs its text still gets an answer,
/// on connections that knew the text before and on new ones, however often the table changes.
#[tokio::test]
async fn a_text_whose_plan_is_stale_behind_a_pooler_is_answered() {
    let Some((db, bouncer)) = kept().await else {
        return;
    };
    let pool = watched(&db, pool_through(&db, &bouncer).await);
    let mut conn = pool.get().await.unwrap();
    assert_eq!(by_text(&mut conn).await, Ok(1));
    assert_eq!(by_dsl(&mut conn).await, Ok(1));
    for _ in 0..3 {
        become_type(&db, "float4").await;
        assert_not_misread(&by_text(&mut conn).await, "text");
        assert_not_misread(&by_dsl(&mut conn).await, "dsl");
        // After one refusal, the program that knows the new type gets its answer.
        let first = as_float(&mut conn).await;
        assert!(matches!(first, Err(_) | Ok(1.0)), "{first:?}");
        assert_eq!(as_float(&mut conn).await, Ok(1.0));
        let mut newcomer = pool.get().await.unwrap();
        assert_eq!(as_float(&mut newcomer).await, Ok(1.0));

        become_type(&db, "int4").await;
        let first = by_text(&mut conn).await;
        assert_not_misread(&first, "text, an integer again");
        assert_eq!(by_text(&mut conn).await, Ok(1));
        assert_eq!(by_dsl(&mut conn).await, Ok(1));
        drop(newcomer);
    }
    drop(conn);
    pool.rests().await;
}

/// The same in a transaction: nothing there is run twice unseen, and the next attempt gets its answer.
#[tokio::test]
async fn a_transaction_with_a_stale_plan_behind_a_pooler_is_tried_again() {
    let Some((db, bouncer)) = kept().await else {
        return;
    };
    let database = super::through(&db, &bouncer, &[]).await;
    let sum = async |conn: &mut AsyncPgConnection| {
        let row = diesel::sql_query("select * from t where id = 1");
        row.get_result::<V>(conn).await.map(|row| row.v)
    };
    for column in ["a", "b", "c"] {
        assert_eq!(database.write(sum).await, Ok(1));
        assert_eq!(database.read(sum).await, Ok(1));
        db.sql(&format!("alter table t add column {column} int"))
            .await
            .unwrap();
    }
    assert_eq!(database.write(sum).await, Ok(1));
}
