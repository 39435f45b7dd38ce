//! Transactions through a pooler that conflicts, a rotation or a restart disturb.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use app_db::{Credentials, Kind};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::{Cluster, ClusterOptions, Stop, TestDatabase, wait_until};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use super::{Version, through};
use crate::at_rest::watched;

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
                                // A pause, so that the pooler is not asked in a tight loop. The test waits for
                                // nothing here.
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
