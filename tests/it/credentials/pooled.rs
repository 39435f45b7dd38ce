//! Server and secret are at odds behind PgBouncer, which refuses with a code and texts of its own.

use std::time::Duration;

use app_db::CredentialState;
use harness::{Bouncer, BouncerBinary, BouncerOptions, PoolMode, TestDatabase, wait_until};

use super::windows::{SHORT_LIVED, Work};
use super::{Secrets, generation, open, sourced_at};
use crate::SOON;
use crate::at_rest::watched;

/// How many logins PgBouncer has refused for their password.
fn refusals(bouncer: &Bouncer) -> usize {
    let log = bouncer.log_text();
    let refused =
        |line: &&str| line.contains("closing because") && line.contains("authentication failed");
    log.lines().filter(refused).count()
}

/// case R40: the server is ahead of the file, and no work fails; each PgBouncer refuses three logins at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_work_fails_behind_a_pooler_while_the_server_is_ahead_of_the_file() {
    for binary in BouncerBinary::all() {
        let db = TestDatabase::empty().await.unwrap();
        let options = BouncerOptions::mode(PoolMode::Transaction).binary(binary.clone());
        let bouncer = Bouncer::start(db.server(), options).await.unwrap();
        let secrets = Secrets::new();
        let path = secrets.put("password", &db.password());
        let url = harness::url(bouncer.port(), db.name(), db.role().name(), "nobody");
        let config = sourced_at(&url, "file", &path, &SHORT_LIVED);
        let database = watched(&db, open(&config).await).with_sessions(20);
        let work = Work::begin(&database);
        wait_until("connections have been replaced", SOON, async || {
            database.status()[0].closed.by_age > 3
        })
        .await;

        db.set_password("second1").await.unwrap();
        wait_until("no login works", SOON, async || {
            database.credentials().state == CredentialState::Refused
        })
        .await;
        let status = &database.status()[0];
        let (aged, done) = (status.closed.by_age, work.done());
        // Every connection outlives its two seconds.
        tokio::time::sleep(Duration::from_secs(3)).await;
        wait_until("work goes on", SOON, async || work.done() > done + 100).await;
        let status = &database.status()[0];
        assert_eq!((status.closed.by_age, generation(&database)), (aged, 1));
        let refused = refusals(&bouncer);
        assert!(
            (1..=3).contains(&refused),
            "{:?}: {refused}",
            binary.version()
        );

        secrets.put("password", "second1");
        wait_until("lifetimes count again", SOON, async || {
            generation(&database) == 2 && database.status()[0].closed.by_age > aged
        })
        .await;
        work.end().await;
        assert_eq!(database.status()[0].checkouts.timed_out, 0);
        database.rests().await;
    }
}
