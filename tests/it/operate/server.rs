//! What the monitor finds out about the server, the pooler before it, and the ports that lead to both.

use std::time::Duration;

use db_observe::{
    AlertOptions, Exporter, Format, Monitor, MonitorOptions, Operations, ServerFigures,
};
use diesel_async::SimpleAsyncConnection;
use harness::{
    Bouncer, BouncerOptions, Cluster, ClusterOptions, PoolMode, TestDatabase, wait_until,
};

use super::metrics::series;
use super::run;
use crate::SOON;
use crate::transaction::{bump, database};

/// What the server was doing at a look that is made now.
async fn looked(monitor: &Monitor) -> ServerFigures {
    monitor.look().await;
    let sample = monitor.latest("write").unwrap();
    sample.figures().unwrap().server.clone().unwrap()
}

/// req 4.30, req 4.34: how many of the server's sessions are taken, what they wait for, and how much memory one
/// takes: as numbers, as series, and beside what is wrong with the pool.
#[tokio::test]
async fn the_server_is_looked_at_beside_the_pool() {
    let cluster = Cluster::start(ClusterOptions::default().max_connections(30))
        .await
        .unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    db.sql("create table t (id int primary key, n int); insert into t values (1, 0); grant all on t to public")
        .await
        .unwrap();
    let database = database(&db.url(), &[("APP_DB__POOLS__WRITE__MAX", "3")]).await;
    let operations = super::watching(&database, AlertOptions::default());
    let monitor = operations.monitor();

    let mut holder = database.get().await.unwrap();
    holder
        .batch_execute("begin; update t set n = 1")
        .await
        .unwrap();
    let waiting = database.clone();
    let waiting = tokio::spawn(async move {
        let done: diesel::QueryResult<usize> =
            waiting.write(async |conn| bump(conn, 1).await).await;
        done
    });
    wait_until("one waits for the other's lock", SOON, async || {
        looked(monitor).await.waiting_for_locks == 1
    })
    .await;
    let idle = database.get().await.unwrap();
    let server = looked(monitor).await;
    assert_eq!(
        (server.idle_in_transaction, server.max_connections),
        (1, 27)
    );
    assert!(server.sessions >= 3 && server.idle >= 1, "{server:?}");
    assert!(server.blocks_hit > 0, "{server:?}");
    assert_eq!(server.session_memory, None, "this user may not ask");

    let scrape = series(&operations.exporter().encode(Format::Prometheus));
    assert_eq!(
        scrape["app_db_server_sessions{pool=\"write\",state=\"lock\"}"],
        1.0
    );
    assert_eq!(
        scrape["app_db_server_max_connections{pool=\"write\"}"],
        27.0
    );
    let report = operations.report();
    assert_eq!(
        report.pools[0].server.as_ref(),
        monitor
            .latest("write")
            .unwrap()
            .figures()
            .unwrap()
            .server
            .as_ref()
    );
    let caller = tokio::spawn(database.get());
    wait_until("it is said beside what is wrong", SOON, async || {
        let found = operations.report().findings.concat();
        found.contains("long transactions") && found.contains("1 for locks")
    })
    .await;
    assert!(super::page::html(&operations).await.contains("1 for locks"));
    let share = report
        .advice
        .iter()
        .find(|one| one.about == "share of the server");
    assert_eq!(share.unwrap().recommended, 21.0, "four fifths of them");

    let role = db.role().name();
    let grant = format!(
        "grant select on pg_catalog.pg_backend_memory_contexts to {role}; \
         grant execute on function pg_catalog.pg_get_backend_memory_contexts() to {role}"
    );
    db.sql(&grant).await.unwrap();
    let memory = looked(monitor).await.session_memory;
    assert!(memory.is_some_and(|bytes| bytes > 100_000), "{memory:?}");

    drop((holder, idle));
    assert_eq!(waiting.await.unwrap(), Ok(1));
    drop(caller.await.unwrap());
    database.shutdown(Duration::from_secs(1)).await;
    let scrape = operations.exporter().encode(Format::Prometheus);
    assert!(
        !scrape.contains("app_db_server"),
        "a closed pool has no series: {scrape}"
    );
    operations.stop().await;
}

/// req 4.30: an alert says that most connections of a server are taken, before the server refuses one.
#[tokio::test]
async fn a_server_that_is_nearly_full_is_told_of() {
    let cluster = Cluster::start(ClusterOptions::default().max_connections(13))
        .await
        .unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let database = database(&db.url(), &[("APP_DB__POOLS__WRITE__MAX", "9")]).await;
    let operations = super::watching(&database, AlertOptions::default());
    let mut held = Vec::new();
    wait_until("it is told", SOON, async || {
        if held.len() < 9 {
            held.push(database.get().await);
        }
        operations.monitor().look().await;
        let firing = operations.firing();
        firing.iter().any(|alert| alert.rule == "ServerConnections")
    })
    .await;
    operations.stop().await;
}

/// req 4.31: the sockets to the server's port are counted, and so are the available ports.
#[tokio::test]
async fn the_ports_to_the_server_are_counted() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let database = database(&db.url(), &[]).await;
    let monitor = Monitor::new(&database, MonitorOptions::default());
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(database.get().await.unwrap());
    }
    monitor.look().await;
    let ports = monitor.latest("write").unwrap().ports.unwrap();
    assert!(ports.established >= 5, "{ports:?}");
    assert!(ports.available > 1_000 && ports.share() < 0.5, "{ports:?}");
    let scrape = Exporter::new(&database, Some(&monitor)).encode(Format::Prometheus);
    let scrape = series(&scrape);
    let established = scrape["app_db_ports{pool=\"write\",state=\"established\"}"];
    assert_eq!(established, f64::from(ports.established));
    assert_eq!(
        scrape["app_db_ports_max{pool=\"write\"}"],
        f64::from(ports.available)
    );
}

/// req 4.35: PgBouncer says how many clients wait in its own queue, which no pool can see. If it does not answer,
/// the page says so, without a secret.
#[tokio::test]
async fn pgbouncer_is_asked_who_waits() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let allowed = BouncerOptions::mode(PoolMode::Transaction)
        .pool_size(1)
        .stats_user(db.role().name(), &db.password());
    let denied = BouncerOptions::mode(PoolMode::Transaction).pool_size(1);
    for (options, tells) in [(allowed, true), (denied, false)] {
        let bouncer = Bouncer::start(&cluster, options).await.unwrap();
        let variables = [("APP_DB__PROFILE__CONNECT_TIMEOUT", "500ms")];
        let database = database(&db.pooled_url(&bouncer), &variables).await;
        run(database.pool("write").unwrap(), "select 1").await;
        let mut asking = MonitorOptions::default();
        (asking.asks_pooler, asking.interval) = (true, Duration::from_secs(3_600));
        let operations = Operations::of(&database).monitor(asking).start();
        let monitor = operations.monitor();
        let mut holder = database.get().await.unwrap();
        holder.batch_execute("begin; select 1").await.unwrap();
        let second = database.clone();
        let waiting =
            tokio::spawn(async move { run(second.pool("write").unwrap(), "select 2").await });

        if tells {
            wait_until("PgBouncer has a client wait", SOON, async || {
                monitor.look().await;
                let pooler = monitor.latest("write").unwrap().pooler;
                pooler.unwrap().unwrap().waiting > 0
            })
            .await;
            let pooler = monitor.latest("write").unwrap().pooler.unwrap().unwrap();
            assert_eq!(
                (&*pooler.mode, pooler.size, pooler.servers_used),
                ("transaction", 1, 1)
            );
            assert!(
                pooler.longest_wait_us > 0 && pooler.queries > 0,
                "{pooler:?}"
            );
            let scrape = operations.exporter().encode(Format::Prometheus);
            let scrape = series(&scrape);
            assert!(scrape["app_db_pooler_clients{pool=\"write\",state=\"waiting\"}"] > 0.0);
            let found = operations.report().findings.concat();
            assert!(
                found.contains("PgBouncer said: transaction mode"),
                "{found}"
            );
        } else {
            monitor.look().await;
            let pooler = monitor.latest("write").unwrap().pooler.unwrap();
            let refused = pooler.unwrap_err();
            assert!(!refused.contains(&db.password()), "{refused}");
            let html = super::page::html(&operations).await;
            assert!(html.contains("gives no figures: "), "{html}");
        }
        drop(holder);
        waiting.await.unwrap();
        operations.stop().await;
    }
}
