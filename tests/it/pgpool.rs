//! Pgpool-II, which looks like PostgreSQL itself: known by name, and right in every mode.

use std::fs;
use std::time::Duration;

use app_db::db_pool::Pooler;
use app_db::{Database, Error};
use diesel::QueryResult;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Cluster, ClusterOptions, Pgpool, PgpoolMode, Server, TestDatabase, wait_until};

use crate::SOON;
use crate::dbctl::Dbctl;
use crate::transaction::database;

/// A primary, its standby, and a Pgpool-II before both.
struct Site {
    pgpool: Pgpool,
    db: TestDatabase,
    primary: Cluster,
    standby: Cluster,
}

impl Site {
    /// `None` where the machine has no Pgpool-II, which is said.
    #[expect(clippy::print_stderr, reason = "who runs the tests must see it")]
    async fn start(mode: PgpoolMode) -> Option<Self> {
        let primary = Cluster::start(ClusterOptions::default()).await.unwrap();
        let standby = primary.replica("standby").await.unwrap();
        let db = TestDatabase::empty_on(&primary).await.unwrap();
        db.sql(
            "create table t (id int primary key, n bigint not null); insert into t values (1, 0); \
             grant all on t to public",
        )
        .await
        .unwrap();
        standby.caught_up_with(&primary).await.unwrap();
        let (first, second): (&Server, &Server) = (primary.server(), standby.server());
        let servers = match mode {
            PgpoolMode::Raw => vec![first],
            _ => vec![first, second],
        };
        let Some(pgpool) = Pgpool::start(&db, &servers, mode).await.unwrap() else {
            // A build server must have it.
            assert!(std::env::var_os("CI").is_none(), "there is no Pgpool-II");
            eprintln!("NOTICE: there is no Pgpool-II; it is not tested");
            return None;
        };
        Some(Self {
            pgpool,
            db,
            primary,
            standby,
        })
    }

    async fn database(&self, more: &[(&str, &str)]) -> Database {
        database(&self.pgpool.url(&self.db), more).await
    }
}

/// It has a process for each connection, and none of these notices that the first process is gone.
#[tokio::test]
async fn a_pgpool_that_is_dropped_leaves_no_process() {
    let Some(Site { pgpool, .. }) = Site::start(PgpoolMode::Raw).await else {
        return;
    };
    let group = pgpool.process_group().to_string();
    assert!(processes_of(&group) > 12, "its processes are not found");
    drop(pgpool);
    wait_until("all processes have ended", SOON, async || {
        processes_of(&group) == 0
    })
    .await;
}

fn processes_of(group: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let stats =
        processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    // Behind the name, which is in brackets: the state, the parent, the group.
    let is_of = |stat: &String| {
        let (_, behind) = stat.rsplit_once(')').unwrap();
        behind.split_whitespace().nth(2) == Some(group)
    };
    stats.filter(is_of).count()
}

async fn text(conn: &mut AsyncPgConnection, sql: &str) -> QueryResult<String> {
    diesel::dsl::sql::<Text>(sql).get_result(conn).await
}

/// The server that runs a query which Pgpool-II takes for harmless.
const WHERE: &str = "select current_setting('port')";

#[tokio::test]
async fn pgpool_in_raw_mode_is_known_and_right() {
    is_known_and_right(PgpoolMode::Raw).await;
}

#[tokio::test]
async fn pgpool_with_a_standby_is_known_and_right() {
    is_known_and_right(PgpoolMode::Replication).await;
}

#[tokio::test]
async fn pgpool_that_balances_the_load_is_known_and_right() {
    is_known_and_right(PgpoolMode::LoadBalancing).await;
}

async fn is_known_and_right(mode: PgpoolMode) {
    let Some(site) = Site::start(mode).await else {
        return;
    };
    let database = site.database(&[]).await;
    assert_eq!(database.status()[0].pooler, Pooler::Pgpool);

    // Writes are right after any read, and a failure has its code.
    for round in 1..=20_i64 {
        let n: QueryResult<i64> = database
            .write(async |conn| {
                text(conn, WHERE).await?;
                let add = diesel::sql_query("update t set n = n + 1 where id = 1");
                add.execute(conn).await?;
                diesel::dsl::sql::<BigInt>("select n from t where id = 1")
                    .get_result(conn)
                    .await
            })
            .await;
        assert_eq!(n, Ok(round));
    }
    let failed: Result<usize, Error> = database
        .write(async |conn| {
            Ok(diesel::sql_query("insert into t values (1, 1)")
                .execute(conn)
                .await?)
        })
        .await;
    assert_eq!(failed.unwrap_err().sqlstate().unwrap().code(), "23505");

    // Queries go where Pgpool-II sends them, and a transaction's limits hold there.
    let at = |cluster: &Cluster| cluster.port().to_string();
    let reads = match mode {
        PgpoolMode::LoadBalancing => at(&site.standby),
        _ => at(&site.primary),
    };
    let read: QueryResult<String> = database.read(async |conn| text(conn, WHERE).await).await;
    assert_eq!(read, Ok(reads));
    let limited = database
        .transaction()
        .statement_timeout(Duration::from_secs(7));
    let limit: QueryResult<String> = limited
        .run(async |conn| text(conn, "select current_setting('statement_timeout')").await)
        .await;
    assert_eq!(limit, Ok("7s".to_owned()));

    // A query that nobody waits for is cancelled on the server that runs it.
    let mut conn = database.get().await.unwrap();
    let slow = conn.batch_execute("select pg_sleep(60)");
    tokio::time::timeout(Duration::from_millis(300), slow)
        .await
        .unwrap_err();
    drop(conn);
    for cluster in [&site.primary, &site.standby] {
        let running = "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(60)%' \
            and pid <> pg_backend_pid()";
        wait_until("the query has been cancelled", SOON, async || {
            cluster.scalar::<i64>(running).await.unwrap() == 0
        })
        .await;
    }
}

/// A text of several statements reaches only the primary, so a reset would leave the standby's session as it
/// is. The connection is closed instead, and nobody else finds the changed settings.
#[tokio::test]
async fn an_altered_session_is_given_to_nobody() {
    for mode in [PgpoolMode::Raw, PgpoolMode::LoadBalancing] {
        let Some(site) = Site::start(mode).await else {
            return;
        };
        let database = site.database(&[("APP_DB__PROFILE__MAX", "1")]).await;
        let limit = "select current_setting('statement_timeout')";
        let mut conn = database.get().await.unwrap();
        let before = text(&mut conn, limit).await.unwrap();
        conn.batch_execute("set statement_timeout = '4s'")
            .await
            .unwrap();
        assert_eq!(text(&mut conn, limit).await.unwrap(), "4s");
        drop(conn);
        for _ in 0..5 {
            let mut conn = database.get().await.unwrap();
            assert_eq!(text(&mut conn, limit).await.unwrap(), before);
        }
        let closed = &database.status()[0].closed;
        assert_eq!((closed.discarded, closed.dirty), (1, 0));
    }
}

/// LISTEN and session locks work, since each client has a session of its own.
#[tokio::test]
async fn a_session_is_there() {
    let Some(site) = Site::start(PgpoolMode::LoadBalancing).await else {
        return;
    };
    let database = site.database(&[]).await;
    let mut conn = database.get().await.unwrap();
    conn.batch_execute("listen orders").await.unwrap();
    conn.batch_execute("select pg_advisory_lock(7)")
        .await
        .unwrap();
    let locks = "select count(*) from pg_locks where locktype = 'advisory' and granted";
    assert_eq!(site.primary.scalar::<i64>(locks).await.unwrap(), 1);
    drop(conn);
    wait_until("the lock is gone with its session", SOON, async || {
        site.primary.scalar::<i64>(locks).await.unwrap() == 0
    })
    .await;
}

/// The doctor names it, and the migrator does not take it for the server.
#[tokio::test]
async fn dbctl_knows_pgpool_by_name() {
    let Some(site) = Site::start(PgpoolMode::LoadBalancing).await else {
        return;
    };
    let through = site.pgpool.url(&site.db);
    let dbctl = Dbctl::new()
        .with("DATABASE_URL", &through)
        .with("DATABASE_URL_DIRECT", site.db.url());
    let outcome = dbctl.run("doctor --json").await.ended_with(0);
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["endpoints"][0]["pooler"], "pgpool", "{report:#}");
    assert_eq!(report["endpoints"][1]["pooler"], "none", "{report:#}");
    let outcome = dbctl.run("doctor").await.ended_with(0);
    assert!(outcome.stdout.contains("Pgpool-II"), "{outcome:?}");

    let direct = Dbctl::new()
        .with("DATABASE_URL", &through)
        .with("DATABASE_URL_DIRECT", &through);
    direct.add_migration("1_a", "select 1");
    let outcome = direct.run("migrate run").await.ended_with(4);
    outcome.says("Pgpool-II answers");
}
