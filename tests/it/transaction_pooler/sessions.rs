//! What a shared session is taken for, what it refuses, and what it survives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use app_db::{Credentials, Kind, Pool};
use db_pool::{Pooler, PoolerMode};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Float, Integer};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{
    Bouncer, BouncerOptions, Cluster, ClusterOptions, PoolMode, Stop, TestDatabase, wait_until,
};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use super::{Version, through};
use crate::at_rest::{open_at, watched};
use crate::pool::{sized, url};

const NOT_PROVEN: Pooler = Pooler::Shared { keeps_names: false };

async fn found(url_text: &str) -> Pooler {
    let pool = Pool::connect(url(url_text), sized(2)).await.unwrap();
    drop(pool.get().await.unwrap());
    pool.status().pooler
}

/// case R32: what is there is told apart, and what cannot be proven is taken for the worse.
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

/// What the configuration says is not asked of the server.
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

/// case R32: what needs a session of its own is refused before it reaches the server, with the way out.
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
                let code = conn.observed().last_error().unwrap();
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

/// Statements that PostgreSQL refuses beside others run all the same.
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
        // An integer it is not any more, and whoever asked before is told once; 1065353216 is 1.0
        // misread, which is what diesel itself makes of a type that the program states wrongly.
        for (way, seen) in [
            ("dsl", v_by_dsl(&mut conn).await),
            ("text", v_by_text(&mut conn).await),
            ("dsl in read", database.read(v_by_dsl).await),
            ("text in write", database.write(v_by_text).await),
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
        assert_eq!(database.read(v_by_dsl).await, Ok(1), "{name}");
        assert_eq!(database.write(v_by_text).await, Ok(1), "{name}");
        drop(conn);
        pool.rests_with(database).await;
    }
    assert!(misread.is_empty(), "{misread:#?}");
}

async fn bump(conn: &mut AsyncPgConnection, id: i32) -> QueryResult<usize> {
    diesel::sql_query("update t set n = n + 1 where id = $1")
        .bind::<Integer, _>(id)
        .execute(conn)
        .await
}

/// `load` by its full name: diesel has one for everything.
fn value(counter: &AtomicU64) -> u64 {
    AtomicU64::load(counter, Ordering::Relaxed)
}

async fn counted() -> TestDatabase {
    let db = TestDatabase::empty().await.unwrap();
    db.sql(
        "create table t (id int primary key, n bigint not null default 0); \
         insert into t select g, 0 from generate_series(1, 10) g; grant all on t to public",
    )
    .await
    .unwrap();
    db
}

/// case R21, case F5: the victim of a deadlock is tried again, and both effects are there once.
#[tokio::test]
async fn a_deadlock_through_a_pooler_is_tried_again() {
    for version in Version::ALL {
        let db = counted().await;
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let database = watched(&db, through(&db, &bouncer, &[]).await);
        let (both_have_one, attempts) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU64::new(0)));
        let tasks: Vec<_> = [(1, 2), (2, 1)]
            .into_iter()
            .map(|(first, second)| {
                let database = database.clone();
                let (barrier, attempts) = (Arc::clone(&both_have_one), Arc::clone(&attempts));
                tokio::spawn(async move {
                    let work = async |conn: &mut AsyncPgConnection| {
                        let nth = attempts.fetch_add(1, Ordering::SeqCst);
                        bump(conn, first).await?;
                        if nth < 2 {
                            barrier.wait().await;
                        }
                        bump(conn, second).await
                    };
                    database.write(work).await
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(1), "{version:?}");
        }
        let counts: String = db
            .scalar("select string_agg(n::text, ',' order by id) from t where id < 3")
            .await
            .unwrap();
        assert_eq!(counts, "2,2", "{version:?}");
        database.rests().await;
    }
}

/// case R20: write skew is prevented, and everybody gets through.
#[tokio::test]
async fn serialization_conflicts_through_a_pooler_are_tried_again() {
    for version in Version::ALL {
        let db = counted().await;
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let database = through(&db, &bouncer, &[]).await;
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let database = database.clone();
                tokio::spawn(async move {
                    for _ in 0..10 {
                        let work = async |conn: &mut AsyncPgConnection| {
                            let total: i64 =
                                diesel::dsl::sql::<BigInt>("select sum(n)::bigint from t")
                                    .get_result(conn)
                                    .await?;
                            bump(conn, 1 + i32::try_from(total % 2).unwrap()).await
                        };
                        let transaction = database.transaction().serializable().attempts(100);
                        transaction.run(work).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let counts: Vec<i64> = vec![
            db.scalar("select n from t where id = 1").await.unwrap(),
            db.scalar("select n from t where id = 2").await.unwrap(),
        ];
        // One after the other they take turns.
        assert_eq!(counts, [40, 40], "{version:?}");
    }
}

/// case R40, case R32: under load no work fails, while the password changes behind the pooler.
#[tokio::test(flavor = "multi_thread")]
async fn no_work_fails_while_the_password_changes_behind_a_pooler() {
    for version in Version::ALL {
        let db = counted().await;
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let database = through(&db, &bouncer, &[("APP_DB__PROFILE__MAX", "8")]).await;
        let (stop, done) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let load: Vec<_> = (1..=10)
            .map(|id| {
                let (database, stop, done) = (database.clone(), stop.clone(), Arc::clone(&done));
                tokio::spawn(async move {
                    while !stop.is_cancelled() {
                        let one = database.write(async |conn| bump(conn, id).await).await;
                        assert_eq!(one, Ok(1));
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for nth in 0..3 {
            let so_far = value(&done);
            wait_until("work goes on", crate::SOON, async || {
                value(&done) > so_far + 50
            })
            .await;
            let password = format!("rotated{nth}");
            db.set_password(&password).await.unwrap();
            let credentials = Credentials::new(db.role().name(), password);
            let rotation = database.rotate(credentials).await.unwrap();
            tokio::time::timeout(crate::SOON, rotation.drained())
                .await
                .unwrap();
        }
        stop.cancel();
        for task in load {
            task.await.unwrap();
        }
        let total: i64 = db.scalar("select sum(n)::bigint from t").await.unwrap();
        assert_eq!(total.unsigned_abs(), value(&done), "{version:?}");
    }
}

/// case F13, case R32, req 4.06: a server that restarts behind its pooler costs errors of a known kind, no lost
/// work and no wrong work.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_behind_a_pooler_is_survived() {
    for version in Version::ALL {
        let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
        let db = TestDatabase::empty_on(&cluster).await.unwrap();
        db.sql("create table t (id int primary key, n bigint not null default 0); insert into t select g, 0 from generate_series(1, 10) g; grant all on t to public")
            .await
            .unwrap();
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let database = through(&db, &bouncer, &[]).await;
        let stop = CancellationToken::new();
        let load: Vec<_> = (1..=5)
            .map(|id| {
                let (database, stop) = (database.clone(), stop.clone());
                tokio::spawn(async move {
                    let (mut sure, mut unknown, mut since) = (0_i64, 0_i64, 0_u32);
                    while !stop.is_cancelled() {
                        let work = async |conn: &mut AsyncPgConnection| {
                            Ok::<_, app_db::Error>(bump(conn, id).await?)
                        };
                        match database.write(work).await {
                            Ok(_) => (sure, since) = (sure + 1, since + 1),
                            Err(error) => {
                                since = 0;
                                match error.kind() {
                                    Kind::OutcomeUnknown => unknown += 1,
                                    Kind::Down | Kind::Busy | Kind::Query => {}
                                    other => panic!("{other:?}: {error:?}"),
                                }
                                // No faster than the pooler can say no: a pace, and nothing is waited for.
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                        }
                    }
                    assert!(since > 0, "nothing worked after the restart");
                    (id, sure, unknown)
                })
            })
            .collect();
        let total = async || -> i64 { db.scalar("select sum(n)::bigint from t").await.unwrap() };
        wait_until("work goes on", crate::SOON, async || total().await > 100).await;
        cluster.restart(Stop::Fast).await.unwrap();
        let after = total().await;
        wait_until("work goes on again", 3 * crate::SOON, async || {
            total().await > after + 100
        })
        .await;
        stop.cancel();
        for task in load {
            let (id, sure, unknown) = task.await.unwrap();
            let n: i64 = db
                .scalar(&format!("select n from t where id = {id}"))
                .await
                .unwrap();
            assert!(
                n >= sure && n <= sure + unknown,
                "{version:?}: {sure} surely and {unknown} perhaps, and there are {n}"
            );
        }
    }
}
