//! Leases: a role that is dropped when its time is over, and one that has lost its rights.

use std::time::{Duration, Instant};

use diesel_async::RunQueryDsl;
use harness::{TestDatabase, wait_until};

use super::{Secrets, generation, open, reaches_generation, sourced, user};
use crate::SOON;
use crate::at_rest::watched;

fn vault(name: &str, password: &str, seconds: u64) -> String {
    serde_json::json!({
        "lease_id": "database/creds/app/1",
        "lease_duration": seconds,
        "data": { "username": name, "password": password },
    })
    .to_string()
}

/// Time enough for a slow machine to open the pool and to swap the secret.
const LEASE: u64 = 8;

/// case R41: what a lease was opened with is gone before the lease ends, held connections included.
#[tokio::test]
async fn connections_of_a_lease_are_gone_before_it_ends() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    let secrets = Secrets::new();
    let path = secrets.put("lease", &vault(db.role().name(), &db.password(), LEASE));
    let database = open(&sourced(&db, "file", &path, &[])).await;
    let began = Instant::now();
    let database = watched(&db, database).with_sessions(21);
    let lease = Duration::from_secs(LEASE);
    assert!(database.credentials().expires_in.unwrap() <= lease);
    let mut held = database.get().await.unwrap();
    let idle = [database.get().await.unwrap(), database.get().await.unwrap()];
    drop(idle);
    // Somebody holds one with a statement that would take longer than the lease.
    let holding = tokio::spawn(async move {
        diesel::sql_query("select pg_sleep(30)")
            .execute(&mut held)
            .await
    });
    secrets.put("lease", &vault(second.name(), &second.password(), 600));
    reaches_generation(&database, 2).await;
    wait_until("none of the lease is left", SOON, async || {
        database.status()[0].retiring == 0
    })
    .await;
    assert!(began.elapsed() < lease, "{:?}", began.elapsed());
    holding.await.unwrap().unwrap_err();
    let sessions = db.backends("app-db").await.unwrap();
    assert!(
        sessions.iter().all(|session| session.user == second.name()),
        "{sessions:?}"
    );
    database.rests().await;
}

/// case R41: a session that is denied what it may do otherwise has its generation retired, if the source has another
/// secret; what is denied for other reasons changes nothing.
#[tokio::test]
async fn a_denial_retires_the_generation_if_there_is_another_secret() {
    let db = TestDatabase::empty().await.unwrap();
    let second = db.add_role().await.unwrap();
    db.sql(&format!(
        "create table t (n int); grant select on t to {}, {}; create table secret (n int)",
        db.role().name(),
        second.name()
    ))
    .await
    .unwrap();
    let secrets = Secrets::new();
    let path = secrets.put_json("secret", db.role().name(), &db.password());
    // Nothing looks at the file by itself.
    let more = [("APP_DB__CREDENTIALS__POLL", "1h")];
    let database = watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(21);
    let count = async |table: &str| {
        let mut conn = database.get().await.unwrap();
        let query = format!("select * from {table}");
        diesel::sql_query(query).execute(&mut conn).await
    };
    // An ordinary denial: the source is asked, and has nothing else.
    count("secret").await.unwrap_err();
    wait_until("the source is asked", SOON, async || {
        database.credentials().fetches == 2
    })
    .await;
    // Once is enough for a while.
    for _ in 0..5 {
        count("secret").await.unwrap_err();
    }
    count("t").await.unwrap();
    assert_eq!(generation(&database), 1);
    database.read(user).await.unwrap();
    assert_eq!(database.credentials().fetches, 2);
    database.rests().await;

    // The role is revoked, and the store has another one.
    let path = secrets.put_json("other", db.role().name(), &db.password());
    let database = watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(21);
    let idle: Vec<_> = [database.get().await.unwrap(), database.get().await.unwrap()].into();
    drop(idle);
    secrets.put_json("other", second.name(), &second.password());
    db.sql(&format!("revoke select on t from {}", db.role().name()))
        .await
        .unwrap();
    let mut conn = database.get().await.unwrap();
    diesel::sql_query("select * from t")
        .execute(&mut conn)
        .await
        .unwrap_err();
    drop(conn);
    reaches_generation(&database, 2).await;
    wait_until("none of it is left", SOON, async || {
        database.status()[0].retiring == 0
    })
    .await;
    let mut conn = database.get().await.unwrap();
    diesel::sql_query("select * from t")
        .execute(&mut conn)
        .await
        .unwrap();
    drop(conn);
    database.rests().await;
}
