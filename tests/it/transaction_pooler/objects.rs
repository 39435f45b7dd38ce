//! Objects and settings of a session, through a pooler that shares it with others.

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::TestDatabase;

use super::{Version, through};

async fn show(conn: &mut AsyncPgConnection, name: &str) -> String {
    diesel::dsl::sql::<Text>("select current_setting(")
        .bind::<Text, _>(name)
        .sql(")")
        .get_result(conn)
        .await
        .unwrap()
}

/// Another client would get them with the server connection.
#[tokio::test]
async fn what_a_session_would_keep_is_refused_by_name() {
    let db = TestDatabase::empty().await.unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let database = through(&db, &bouncer, &[]).await;
        let mut conn = database.get().await.unwrap();
        for (sql, what) in [
            ("CREATE TEMP TABLE shadowed (x int)", "temporary table"),
            ("create temporary view v as select 1", "temporary view"),
            ("create temp sequence s", "temporary sequence"),
            ("select 1 as x into temp t", "temporary table"),
            ("create table pg_temp.t (x int)", "pg_temp"),
            ("prepare p as select 1", "PREPARE"),
            ("load 'auto_explain'", "LOAD"),
            (
                "begin; declare c cursor with hold for select 1; commit",
                "WITH HOLD",
            ),
            ("listen c", "LISTEN"),
            ("select pg_advisory_lock(1)", "advisory lock"),
            ("set search_path = a", "search_path"),
        ] {
            for simple in [true, false] {
                if !simple && sql.contains(';') {
                    continue;
                }
                let refused = match simple {
                    true => conn.batch_execute(sql).await,
                    false => diesel::sql_query(sql).execute(&mut conn).await.map(drop),
                };
                let error = refused.unwrap_err().to_string();
                assert!(
                    error.contains(what) && error.contains("direct"),
                    "{version:?} {sql}: {error}"
                );
            }
        }
        // Within one transaction it is nobody else's.
        conn.transaction(async |conn| {
            conn.batch_execute(
                "create temp table own (x int) on commit drop; insert into own values (1)",
            )
            .await?;
            diesel::sql_query("select x from own").execute(conn).await
        })
        .await
        .unwrap();
        let left: i64 = diesel::dsl::sql::<diesel::sql_types::BigInt>(
            "select count(*) from pg_class where relpersistence = $$t$$",
        )
        .get_result(&mut conn)
        .await
        .unwrap();
        assert_eq!(left, 0, "{version:?}");
    }
}

/// PgBouncer keeps these for each client, and the next holder is the same client.
#[tokio::test]
async fn what_the_pooler_keeps_for_a_client_is_put_back_for_the_next_holder() {
    let db = TestDatabase::empty().await.unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let database = through(&db, &bouncer, &[("APP_DB__PROFILE__MAX", "1")]).await;
        let names = [
            "client_encoding",
            "DateStyle",
            "TimeZone",
            "application_name",
            "standard_conforming_strings",
        ];
        let mut conn = database.get().await.unwrap();
        let mut before = Vec::new();
        for name in names {
            before.push(show(&mut conn, name).await);
        }
        drop(conn);
        for set in [
            "SET NAMES 'LATIN1'",
            "SET datestyle = 'German'",
            "SET TIME ZONE 'Asia/Tokyo'",
            "set session application_name = 'mine'",
            "set standard_conforming_strings = off",
            "set client_encoding = 'LATIN1'; set timezone = 'PST8PDT'",
        ] {
            let mut conn = database.get().await.unwrap();
            let pid = conn.backend_pid();
            conn.batch_execute(set).await.unwrap();
            drop(conn);
            let mut conn = database.get().await.unwrap();
            assert_eq!(conn.backend_pid(), pid, "{version:?} {set}: it is kept");
            for (name, value) in names.iter().zip(&before) {
                assert_eq!(show(&mut conn, name).await, *value, "{version:?} {set}");
            }
            let accent: String = diesel::dsl::sql::<Text>("select chr(233)")
                .get_result(&mut conn)
                .await
                .unwrap();
            assert_eq!(accent, "é");
        }
    }
}

/// Statements that leave nothing in the session work as without a pooler.
#[tokio::test]
async fn what_needs_no_session_works_as_without_a_pooler() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create table notes (t text); grant all on notes to public; \
            create procedure p() language plpgsql as $$ begin insert into notes values ('p'); commit; end $$")
        .await
        .unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let database = through(&db, &bouncer, &[]).await;
        let mut conn = database.get().await.unwrap();
        for sql in [
            "INSERT INTO notes VALUES ('first; listen to this')",
            "INSERT INTO notes VALUES ('ran concurrently')",
            "SELECT 1 -- not pg_try_advisory_lock(1)",
            "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT",
            "DISCARD ALL",
            "CALL p()",
            "DO 'begin insert into notes values (''d''); commit; end'",
            "COMMIT PREPARED 'none'",
        ] {
            for run in [
                conn.batch_execute(sql).await,
                match sql.starts_with("BEGIN") {
                    true => Ok(()),
                    false => diesel::sql_query(sql).execute(&mut conn).await.map(drop),
                },
            ] {
                let told = run.err().map(|error| error.to_string());
                // If the statement stands alone, the server looks for the transaction.
                let expected = sql.starts_with("COMMIT").then(|| {
                    "prepared transaction with identifier \"none\" does not exist".to_owned()
                });
                assert_eq!(told, expected, "{version:?} {sql}");
            }
        }
        let serializable = conn
            .transaction(async |conn| {
                conn.batch_execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                    .await?;
                QueryResult::Ok(show(conn, "transaction_isolation").await)
            })
            .await;
        assert_eq!(serializable.unwrap(), "serializable", "{version:?}");
        for refused in ["declare c cursor for select 1", "savepoint a"] {
            // 25P01, as without a pooler: nothing in front of it makes a block.
            assert!(
                conn.batch_execute(refused).await.is_err(),
                "{version:?} {refused}"
            );
        }
    }
}

/// A statement that would lack the pool's search path is refused, and never runs in another schema.
#[tokio::test]
async fn what_must_stand_alone_is_never_run_elsewhere() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create schema tenant; create type public.mm as enum ('a'); create type tenant.mm as enum ('a'); \
            create table public.c (t text); create table tenant.c (t text); grant all on public.c to public; \
            grant usage on schema tenant to public; grant all on tenant.c to public")
        .await
        .unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let tenant = [("APP_DB__PROFILE__SEARCH_PATH", "tenant")];
        let database = through(&db, &bouncer, &tenant).await;
        let mut conn = database.get().await.unwrap();
        for sql in [
            "INSERT INTO c VALUES ('ran concurrently')",
            "INSERT INTO c VALUES ('x; commit')",
        ] {
            conn.batch_execute(sql).await.unwrap();
            diesel::sql_query(sql).execute(&mut conn).await.unwrap();
        }
        for sql in ["ALTER TYPE mm ADD VALUE 'b'", "VACUUM c", "REINDEX TABLE c"] {
            let error = conn.batch_execute(sql).await.unwrap_err().to_string();
            assert!(
                error.contains("search_path") && error.contains("ALTER ROLE"),
                "{version:?} {sql}: {error}"
            );
        }
    }
    let elsewhere: i64 = db.scalar("select count(*) from public.c").await.unwrap();
    assert_eq!(elsewhere, 0);
}
