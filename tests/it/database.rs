//! The handle of a service: its pools, its health, what it says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use app_db::{Error, Kind, SqlState};
use diesel::QueryResult;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::{
    Bouncer, BouncerOptions, Cluster, ClusterOptions, PoolMode, Stop, TestDatabase, wait_until,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::SOON;
use crate::at_rest::watched;
use crate::transaction::{bump, config, database, prepared};

async fn in_recovery(conn: &mut AsyncPgConnection) -> QueryResult<bool> {
    diesel::dsl::sql::<Bool>("select pg_is_in_recovery()")
        .get_result(conn)
        .await
}

/// req 2.30, req 2.31, req 2.33, req 4.24: reads go to the replica with its own sizes, everything else to the
/// primary.
#[tokio::test]
async fn reads_go_to_the_replica() {
    let primary = Cluster::start(ClusterOptions::default()).await.unwrap();
    let standby = primary.replica("replica1").await.unwrap();
    let db = TestDatabase::empty_on(&primary).await.unwrap();
    standby.caught_up_with(&primary).await.unwrap();
    let replica = harness::through_port(&db.url(), standby.port());
    let database = database(&db.url(), &[("DATABASE_URL_REPLICA", &replica)]).await;
    assert!(database.read(in_recovery).await.unwrap());
    assert!(!database.write(in_recovery).await.unwrap());
    assert!(
        !database
            .transaction()
            .read_only()
            .run(in_recovery)
            .await
            .unwrap()
    );
    let on_replica = database.transaction_on("read").unwrap();
    let snapshot = on_replica.repeatable_read().run(in_recovery);
    assert!(snapshot.await.unwrap());
    let status = database.status();
    assert_eq!((&*status[0].pool, status[0].max), ("write", 20));
    assert_eq!((&*status[1].pool, status[1].max), ("read", 50));

    // Without it no read can run.
    assert!(database.health().await.is_ready());
    standby.stop(Stop::Fast).await.unwrap();
    let health = database.health().await;
    assert!(health.write.is_healthy() && !health.is_ready());
    assert!(health.others[0].serves_reads);
    assert_eq!(health.others[0].error.as_ref().unwrap().kind(), Kind::Down);
}

/// A pool that is read only writes nothing, directly and behind a pooler, in a transaction and outside.
#[tokio::test]
async fn a_pool_that_is_read_only_writes_nothing() {
    let (db, _database) = prepared().await;
    let options = BouncerOptions::mode(PoolMode::Transaction);
    let bouncer = Bouncer::start(db.server(), options).await.unwrap();
    let read_only = [("APP_DB__POOLS__REPORTS__READ_ONLY", "on")];
    for url in [db.url(), db.pooled_url(&bouncer)] {
        let database = database(&url, &read_only).await;
        let mut conn = database.pool("reports").unwrap().get().await.unwrap();
        let outside = bump(&mut conn, 1).await;
        let transaction = database.transaction_on("reports").unwrap();
        let inside = transaction.run(async |conn| bump(conn, 1).await).await;
        for refused in [outside, inside] {
            let error = Error::from(refused.unwrap_err());
            let code = error.sqlstate();
            assert_eq!(
                code.as_ref().map(SqlState::code),
                Some("25006"),
                "{error:?}"
            );
        }
        assert_eq!(
            database.write(async |conn| bump(conn, 1).await).await,
            Ok(1)
        );
    }
    let written: i64 = db.scalar("select sum(n)::bigint from t").await.unwrap();
    assert_eq!(written, 2);
}

/// req 4.19, req 4.22, req 4.15: further pools have their own bounds, and an unused one costs nothing.
#[tokio::test]
async fn further_pools_are_opened_when_they_are_asked_for() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(
        &db.url(),
        &[
            ("APP_DB__POOLS__BATCH__MAX", "2"),
            ("APP_DB__POOLS__BATCH__MIN_IDLE", "1"),
            ("APP_DB__POOLS__BATCH__APPLICATION_NAME", "batch"),
            ("APP_DB__POOLS__ADMIN__VIA", "direct"),
            ("DATABASE_URL_DIRECT", &db.url()),
        ],
    )
    .await;
    assert_eq!(database.status().len(), 1);
    assert!(db.backends("batch").await.unwrap().is_empty());
    let batch = database.pool("batch").unwrap();
    assert_eq!(batch.profile().max, 2);
    drop(batch.get().await.unwrap());
    assert_eq!(db.backends("batch").await.unwrap().len(), 1);
    assert_eq!(database.status().len(), 2);
    assert_eq!(database.pool("admin").unwrap().name(), "admin");
    let error = database.pool("nosuch").unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
    assert!(
        error
            .to_string()
            .contains("`nosuch`; the configuration has `write`, `read`, `admin`, `batch`"),
        "{error}"
    );
    assert_eq!(database.pool("read").unwrap().name(), "write");
}

/// req 4.19: even without a replica, reads may have limits of their own, which do not affect writes.
#[tokio::test]
async fn reads_may_have_a_pool_of_their_own() {
    let db = TestDatabase::empty().await.unwrap();
    let more = [
        ("APP_DB__POOLS__READ__MAX", "1"),
        ("APP_DB__POOLS__READ__CHECKOUT_TIMEOUT", "50ms"),
        ("APP_DB__POOLS__READ__APPLICATION_NAME", "reader"),
    ];
    let database = database(&db.url(), &more).await;
    let read = database.pool("read").unwrap();
    assert_eq!((read.name(), read.profile().max), ("read", 1));
    assert!(db.backends("reader").await.unwrap().is_empty());

    let held = read.get_timeout(SOON).await.unwrap();
    let refused = database.read(in_recovery).await.unwrap_err();
    assert!(refused.to_string().contains("pool `read`"), "{refused}");
    assert!(!database.write(in_recovery).await.unwrap());
    drop(held);
    assert!(!database.read(in_recovery).await.unwrap());
    assert_eq!(db.backends("reader").await.unwrap().len(), 1);
    assert_eq!(db.backends("app-db").await.unwrap().len(), 1);
    let names: Vec<_> = database
        .status()
        .iter()
        .map(|one| one.pool.to_string())
        .collect();
    assert_eq!(names, ["write", "read"]);
}

/// req 2.26, req 2.27, case R03, req 3.34: health says what is wrong, and when it is right again.
#[tokio::test]
async fn health_follows_the_server() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let database = watched(
        &db,
        database(&db.url(), &[("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "300ms")]).await,
    );
    let health = database.health().await;
    assert!(health.is_ready());
    assert!(health.write.latency < Duration::from_secs(1));
    cluster.stop(Stop::Immediate).await.unwrap();
    let health = database.health().await;
    assert!(!health.is_ready());
    assert_eq!(health.write.error.as_ref().unwrap().kind(), Kind::Down);
    cluster.start_again().await.unwrap();
    wait_until("it is healthy again", SOON, async || {
        database.health().await.is_ready()
    })
    .await;
    database.rests().await;
}

/// A pool with all connections at work is busy, but healthy.
#[tokio::test]
async fn a_busy_pool_is_healthy() {
    let db = TestDatabase::empty().await.unwrap();
    let more = [
        ("APP_DB__PROFILE__MAX", "1"),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "50ms"),
    ];
    let database = database(&db.url(), &more).await;
    let _held = database.get().await.unwrap();
    let health = database.health().await;
    assert!(health.is_ready());
    assert_eq!(health.write.status.in_use, 1);
}

/// A pool that connects directly needs a direct URL, and says so at start.
#[tokio::test]
async fn a_direct_pool_without_a_direct_url_is_refused() {
    let url = "postgres://u:canary@127.0.0.1:6432/d";
    let config = config(url, &[("APP_DB__POOLS__ADMIN__VIA", "direct")]);
    let error = app_db::Database::connect(&config).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
    assert!(error.to_string().contains("DATABASE_URL_DIRECT"), "{error}");
    assert!(!format!("{error:?}{error}").contains("canary"));
}

/// req 2.08, req 2.09, req 3.13, req 4.47: the log has the profile and slow statements, and no value and no secret.
#[tokio::test]
async fn the_log_says_what_is_slow_and_nothing_secret() {
    let (log, _capturing) = Log::capture();
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[("APP_DB__SLOW_QUERY__THRESHOLD", "50ms")]).await;
    let slow: QueryResult<usize> = database
        .transaction()
        .label("nightly")
        .run(async |conn| {
            diesel::sql_query("select pg_sleep(0.1), $1")
                .bind::<Text, _>("valuecanary")
                .execute(conn)
                .await
        })
        .await;
    slow.unwrap();
    database.read(in_recovery).await.unwrap();
    let log = log.text();
    let slow: Vec<_> = log
        .lines()
        .filter(|line| line.contains("app_db::slow_query"))
        .collect();
    assert_eq!(slow.len(), 1, "{log}");
    for part in [
        "select pg_sleep(?), ?",
        "duration_ms=1",
        "in_transaction=true",
        "pool=\"write\"",
        "label=\"nightly\"",
    ] {
        assert!(slow[0].contains(part), "{part} in {}", slow[0]);
    }
    assert!(
        log.contains("pool opened") && log.contains("max=20"),
        "{log}"
    );
    assert!(!log.contains("valuecanary"), "{log}");
    assert!(!log.contains(&db.password()), "{log}");
    assert_eq!(database.status()[0].slow_queries, 1);
}

/// req 0.05, req 4.03, req 4.12, req 0.25: pools that are together larger than the server are said at start,
/// and only those.
#[tokio::test]
async fn pools_larger_than_the_server_are_said_at_start() {
    let cluster = Cluster::start(ClusterOptions::default().max_connections(20))
        .await
        .unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let warning = "the pools may take all connections that the server has for clients";
    for (batch, warned) in [("8", true), ("7", true), ("6", false)] {
        let (log, _capturing) = Log::capture();
        let more = [
            ("APP_DB__PROFILE__MAX", "10"),
            ("APP_DB__POOLS__BATCH__MAX", batch),
        ];
        drop(database(&db.url(), &more).await);
        let log = log.text();
        assert_eq!(log.contains(warning), warned, "{log}");
        // Three are kept for superusers.
        let numbers = format!("available=17 max_connections=20 pools=\"write 10, batch {batch}\"");
        assert_eq!(log.contains(&numbers), warned, "{log}");
    }
}

/// Everything that is logged while it captures.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures what this thread logs for as long as the guard lives.
    pub(crate) fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The same in the format of a service in production, one JSON object for each record.
    pub(crate) fn capture_json() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_max_level(tracing::Level::TRACE)
            .json()
            .flatten_event(true)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
