//! How a shared session is recognized, what is refused on it, and what it survives.

use app_db::Pool;
use db_pool::plumbing;
use db_pool::{Pooler, PoolerMode};
use diesel::prelude::*;
use diesel::sql_types::{Float, Integer};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Bouncer, BouncerOptions, PoolMode, TestDatabase, wait_until};

use super::Version;
use crate::at_rest::{open_at, watched};
use crate::pool::{sized, url};

const NOT_PROVEN: Pooler = Pooler::Shared { keeps_names: false };

async fn found(url_text: &str) -> Pooler {
    let pool = Pool::connect(url(url_text), sized(2)).await.unwrap();
    drop(pool.get().await.unwrap());
    pool.status().pooler
}

/// case R32: the pool distinguishes what it talks to, and assumes the worse case without a proof.
#[tokio::test]
async fn poolers_are_told_apart() {
    let db = TestDatabase::empty().await.unwrap();
    assert_eq!(found(&db.url()).await, Pooler::None);
    for (version, mode, expected) in [
        (Version::Old, PoolMode::Transaction, NOT_PROVEN),
        (Version::Old, PoolMode::Session, NOT_PROVEN),
        (Version::NewForgetful, PoolMode::Transaction, NOT_PROVEN),
        (Version::NewKeeping, PoolMode::Session, NOT_PROVEN),
        (
            Version::NewKeeping,
            PoolMode::Transaction,
            Pooler::Shared { keeps_names: true },
        ),
    ] {
        let Some(options) = version.options(mode) else {
            continue;
        };
        let bouncer = Bouncer::start(db.server(), options).await.unwrap();
        let seen = found(&db.pooled_url(&bouncer)).await;
        assert_eq!(seen, expected, "{version:?} {mode:?}");
    }
}

/// The pool does not ask the server about what the configuration says.
#[tokio::test]
async fn a_configured_session_pooler_is_believed() {
    let db = TestDatabase::empty().await.unwrap();
    let options = BouncerOptions::mode(PoolMode::Session);
    let bouncer = Bouncer::start(db.server(), options).await.unwrap();
    let mut profile = sized(2);
    profile.pooler = PoolerMode::Session;
    let pool = Pool::connect(url(&db.pooled_url(&bouncer)), profile)
        .await
        .unwrap();
    assert_eq!(pool.status().pooler, Pooler::Session);
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("listen news; select pg_advisory_lock(1)")
        .await
        .unwrap();
}

/// case R32: a statement that needs a session of its own is refused before it reaches the server, and the refusal
/// says what to do.
#[tokio::test]
async fn listen_and_session_locks_are_refused() {
    let db = TestDatabase::empty().await.unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let pool = Pool::connect(url(&db.pooled_url(&bouncer)), sized(2))
            .await
            .unwrap();
        let mut conn = pool.get().await.unwrap();
        for statement in [
            "listen news",
            " /* x */ LISTEN news",
            "select pg_advisory_lock(1)",
            "select pg_try_advisory_lock(1)",
            "select pg_advisory_lock_shared(1)",
        ] {
            for simple in [true, false] {
                let refused = match simple {
                    true => conn.batch_execute(statement).await.unwrap_err(),
                    false => diesel::sql_query(statement)
                        .execute(&mut conn)
                        .await
                        .unwrap_err(),
                };
                let told = refused.to_string();
                assert!(told.contains("DATABASE_URL_DIRECT"), "{statement}: {told}");
                let code = plumbing::observed(&conn).last_error().unwrap();
                assert_eq!(code.sqlstate().code(), "0A000", "{statement}");
            }
        }
        diesel::sql_query("select pg_advisory_xact_lock(1)")
            .execute(&mut conn)
            .await
            .unwrap();
        let locks: i64 = db
            .scalar("select count(*) from pg_locks where locktype = 'advisory'")
            .await
            .unwrap();
        assert_eq!(locks, 0);
    }
}

/// Statements that PostgreSQL refuses together with others run nevertheless.
#[tokio::test]
async fn utilities_run_alone() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql(&format!(
        "create table t (id int); alter table t owner to {}",
        db.role().name()
    ))
    .await
    .unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let pool = Pool::connect(url(&db.pooled_url(&bouncer)), sized(2))
            .await
            .unwrap();
        let mut conn = pool.get().await.unwrap();
        for statement in [
            "vacuum t",
            "VACUUM (ANALYZE) t;",
            "create index concurrently i on t (id)",
            "reindex table concurrently t",
            "drop index concurrently i",
        ] {
            let run = conn.batch_execute(statement).await;
            run.unwrap_or_else(|error| panic!("{version:?} {statement}: {error}"));
        }
        for statement in ["vacuum t", "vacuum t", "analyze t"] {
            let run = diesel::sql_query(statement).execute(&mut conn).await;
            run.unwrap_or_else(|error| panic!("{version:?} {statement}: {error}"));
        }
    }
}

diesel::table! {
    changing (id) {
        id -> Int4,
        v -> Int4,
    }
}

#[derive(QueryableByName)]
struct V {
    #[diesel(sql_type = Integer)]
    v: i32,
}

async fn v_by_dsl(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    changing::table
        .find(1)
        .select(changing::v)
        .first(conn)
        .await
}

async fn v_by_text(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    let row = diesel::sql_query("select v from changing where id = 1");
    row.get_result::<V>(conn).await.map(|row| row.v)
}

/// case F2: a column that another session gives another type is never decoded as the old one.
#[tokio::test]
async fn a_changed_column_is_never_decoded_as_it_was() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create table changing (id int primary key, v int4); grant all on changing to public; insert into changing values (1, 1)")
        .await
        .unwrap();
    let mut urls = vec![("direct".to_owned(), db.url())];
    let mut bouncers = Vec::new();
    for version in Version::ALL {
        if let Some(bouncer) = version.start(db.server()).await {
            urls.push((format!("{version:?}"), db.pooled_url(&bouncer)));
            bouncers.push(bouncer);
        }
    }
    let mut misread = Vec::new();
    for (name, url_text) in urls {
        let pool = open_at(&db, &url_text, sized(2)).await;
        let another_name = [("APP_DB__PROFILE__APPLICATION_NAME", "handle")];
        let database = crate::transaction::database(&url_text, &another_name).await;
        let database = watched(&db, database);
        let mut conn = pool.get().await.unwrap();
        for _ in 0..3 {
            assert_eq!(v_by_dsl(&mut conn).await, Ok(1), "{name}");
            assert_eq!(v_by_text(&mut conn).await, Ok(1), "{name}");
            assert_eq!(database.read(v_by_dsl).await, Ok(1), "{name}");
            assert_eq!(database.write(v_by_text).await, Ok(1), "{name}");
        }
        db.sql("alter table changing alter v type float4")
            .await
            .unwrap();
        // The value is no integer any more, and a connection that knows the integer says so before it is
        // replaced. 1065353216 is 1.0 misread: diesel itself reads it so if the program states the wrong type.
        let told = database.read(v_by_dsl).await;
        for (way, seen) in [
            ("dsl", v_by_dsl(&mut conn).await),
            ("text", v_by_text(&mut conn).await),
            ("dsl in read", told),
        ] {
            if !matches!(seen, Err(_) | Ok(1)) {
                misread.push(format!("{name}, {way}: {seen:?}"));
            }
        }
        let mut floats = Vec::new();
        for _ in 0..2 {
            let float = diesel::dsl::sql::<Float>("select v from changing where id = 1");
            floats.push(float.get_result::<f32>(&mut conn).await);
        }
        if floats[1] != Ok(1.0) {
            misread.push(format!("{name}, as a float: {floats:?}"));
        }
        db.sql("alter table changing alter v type int4")
            .await
            .unwrap();
        wait_until("it is an integer again", crate::SOON, async || {
            v_by_dsl(&mut conn).await == Ok(1) && v_by_text(&mut conn).await == Ok(1)
        })
        .await;
        // Each connection that has met the float fails one call, and is replaced.
        let mut failed = 0;
        while database.read(v_by_dsl).await != Ok(1) || database.write(v_by_text).await != Ok(1) {
            failed += 1;
            assert!(failed <= 2, "{name}: still no integer");
        }
        drop(conn);
        pool.rests_with(database).await;
    }
    assert!(misread.is_empty(), "{misread:#?}");
}
