//! What must be so of a pool and its server once everybody has given back what they held.

use app_db::Pool;
use harness::{TestDatabase, wait_until};

use crate::SOON;

/// Waits until a pool has come to rest, and looks at it from both sides: nothing is lost, and nothing of
/// what was done is left on the server. Its application is called `app-db`.
pub(crate) async fn comes_to_rest(db: &TestDatabase, pool: &Pool) {
    wait_until("the pool is at rest", SOON, async || {
        let status = pool.status();
        (status.in_use, status.waiting, status.open) == (0, 0, status.idle)
    })
    .await;
    let open = usize::try_from(pool.status().open).unwrap();
    wait_until(
        "the server has no more sessions than the pool",
        SOON,
        async || {
            let backends = db.backends("app-db").await.unwrap();
            backends.len() <= open && backends.iter().all(|backend| backend.state == "idle")
        },
    )
    .await;
    let locks: i64 = db
        .scalar(
            "select count(*) from pg_locks join pg_stat_activity using (pid) \
             where application_name = 'app-db' and datname = current_database() \
                 and locktype = 'advisory'",
        )
        .await
        .unwrap();
    assert_eq!(locks, 0, "advisory locks are left");
    says_nothing_secret(db, pool);
}

/// Everything that can be printed of a pool.
fn says_nothing_secret(db: &TestDatabase, pool: &Pool) {
    let (status, profile) = (pool.status(), pool.profile());
    let said = format!(
        "{pool:?} {status} {status:?} {profile:?} {}",
        pool.address()
    );
    assert!(!said.contains(&db.password()), "the password is in: {said}");
}

/// Holds as many connections at once as the pool may have, which it cannot when it has lost a place.
pub(crate) async fn has_all_its_places(pool: &Pool) {
    let max = pool.status().max;
    let all = futures_util::future::join_all((0..max).map(|_| pool.get())).await;
    for conn in &all {
        assert!(conn.is_ok(), "{conn:?} of {max}");
    }
}
