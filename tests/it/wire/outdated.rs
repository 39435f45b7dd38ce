//! Descriptions that grow old: each connection fails one call at most, and is replaced.

use app_db::Database;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::TestDatabase;

use crate::transaction::database;
use crate::transaction_pooler::Version;

diesel::table! {
    users (id) {
        id -> Int4,
        email -> Text,
    }
}

async fn email(conn: &mut AsyncPgConnection) -> QueryResult<String> {
    users::table.find(1).select(users::email).first(conn).await
}

async fn feel(conn: &mut AsyncPgConnection) -> QueryResult<String> {
    #[derive(QueryableByName)]
    struct Feeling {
        #[diesel(sql_type = diesel::sql_types::Text)]
        now: String,
    }
    let feeling: Feeling =
        diesel::sql_query("select now::text as now from feelings where now = $1::text::mood")
            .bind::<diesel::sql_types::Text, _>("fine")
            .get_result(conn)
            .await?;
    Ok(feeling.now)
}

const SIZE: usize = 3;

/// A handle by each way to the server, all of whose connections have asked.
async fn warmed(
    db: &TestDatabase,
    ask: impl AsyncFn(&mut AsyncPgConnection) -> QueryResult<String>,
) -> Vec<(String, Database, Option<harness::Bouncer>)> {
    let more = [("APP_DB__PROFILE__MAX", "3")];
    let mut ways = vec![("direct".to_owned(), database(&db.url(), &more).await, None)];
    for version in Version::ALL {
        if let Some(bouncer) = version.start(db.server()).await {
            let database = database(&db.pooled_url(&bouncer), &more).await;
            ways.push((format!("{version:?}"), database, Some(bouncer)));
        }
    }
    for (way, database, _bouncer) in &ways {
        let mut held = Vec::new();
        for _ in 0..SIZE {
            let mut conn = database.get().await.unwrap();
            for _ in 0..2 {
                let asked = ask(&mut conn).await;
                asked.unwrap_or_else(|error| panic!("{way}: {error}"));
            }
            held.push(conn);
        }
    }
    ways
}

/// diesel's own cache keeps the type of the column for as long as the connection lives.
#[tokio::test]
async fn a_column_of_another_type_fails_each_connection_once() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql(
        "create table users (id int primary key, email text not null); \
            insert into users values (1, 'a@b'); grant all on users to public",
    )
    .await
    .unwrap();
    let ways = warmed(&db, email).await;
    for (way, database, _bouncer) in &ways {
        db.sql("alter table users alter column email type varchar(50)")
            .await
            .unwrap();
        // The helpers run the call again, on a connection that is new.
        for _ in 0..2 * SIZE {
            let read = database.read(async |conn| email(conn).await).await;
            assert_eq!(read.unwrap(), "a@b", "{way}");
        }
        db.sql("alter table users alter column email type text")
            .await
            .unwrap();
        let mut failed = 0;
        for _ in 0..4 * SIZE {
            let mut conn = database.get().await.unwrap();
            failed += usize::from(email(&mut conn).await.is_err());
        }
        assert!(failed <= SIZE, "{way}: {failed} calls failed");
        let mut conn = database.get().await.unwrap();
        assert_eq!(email(&mut conn).await.unwrap(), "a@b", "{way}");
    }
}

/// The type is a new one with the same name, so plans and look-ups of the old one are invalid.
#[tokio::test]
async fn a_type_that_is_made_anew_fails_each_connection_once() {
    let db = TestDatabase::empty().await.unwrap();
    let make = "create type mood as enum ('fine'); create table feelings (now mood); \
                insert into feelings values ('fine'); grant all on feelings to public";
    db.sql(make).await.unwrap();
    let ways = warmed(&db, feel).await;
    for (way, database, _bouncer) in &ways {
        db.sql(&format!("drop table feelings; drop type mood; {make}"))
            .await
            .unwrap();
        for _ in 0..2 * SIZE {
            let read = database.read(async |conn| feel(conn).await).await;
            assert_eq!(read.unwrap(), "fine", "{way}");
        }
        let mut conn = database.get().await.unwrap();
        assert_eq!(feel(&mut conn).await.unwrap(), "fine", "{way}");
    }
}
