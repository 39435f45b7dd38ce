//! `dbctl migrate`: applying, reverting, refusing, and being interrupted.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use harness::{Bouncer, BouncerOptions, TestDatabase, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use super::Dbctl;

fn repository_migrations() -> usize {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
    fs::read_dir(folder)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().is_dir())
        .count()
}

/// req 1.13, req 4.21
#[tokio::test]
async fn the_repositorys_migrations_are_applied_reverted_and_redone() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::on(&database);
    let all = repository_migrations();

    dbctl.run("migrate status --check").await.ended_with(3);
    dbctl
        .run("migrate run")
        .await
        .ended_with(0)
        .says(&format!("{all} migrations applied"));
    dbctl.run("migrate status --check").await.ended_with(0);
    dbctl
        .run("migrate run")
        .await
        .ended_with(0)
        .says("nothing to do");
    dbctl.run("migrate redo").await.ended_with(0);

    dbctl
        .run("migrate revert --step 2")
        .await
        .ended_with(0)
        .says("2 migrations reverted");
    let states = dbctl
        .run("migrate status --json")
        .await
        .ended_with(0)
        .states();
    assert_eq!(states.iter().filter(|state| *state == "pending").count(), 2);
    dbctl
        .run("migrate revert --all")
        .await
        .ended_with(0)
        .says(&format!("{} migrations reverted", all - 2));
    dbctl
        .run("migrate revert --all --step 2")
        .await
        .ended_with(2);
    let tables = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    assert_eq!(
        database.scalar::<i64>(tables).await.unwrap(),
        2,
        "the history and its checksums alone are left"
    );
}

#[tokio::test]
async fn the_status_says_how_long_each_took_what_takes_data_away_and_as_whom_it_asks() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(
        &database,
        "1_a",
        "create table a(b int); select pg_sleep(0.2)",
    );
    dbctl.add_migration("2_b", "alter table a drop column b; vacuum (analyze) a");
    let outside = dbctl.path("migrations/2_b/metadata.toml");
    fs::write(outside, "run_in_transaction = false").unwrap();
    dbctl.add_migration("3_c", "create table c()");
    dbctl.run("migrate run --step 2").await.ended_with(0);

    let status = dbctl
        .run("migrate status --json")
        .await
        .ended_with(0)
        .json();
    let took = |at: usize| status[at]["duration_ms"].as_u64();
    assert!((200..5000).contains(&took(0).unwrap()), "{status}");
    assert!(took(1).unwrap() < 5000, "{status}");
    assert_eq!(took(2), None);
    let destructive: Vec<_> = (0..3).map(|at| &status[at]["destructive"]).collect();
    assert_eq!(destructive, [false, true, false]);

    let role = database.role().name().to_owned();
    let text = dbctl
        .run("migrate status")
        .await
        .ended_with(0)
        .says(&format!(
            "role {role}, database {}, schema public",
            database.name()
        ))
        .says("the migrators' lock (classid 1296648018, objid ")
        .says(" is free");
    assert!(text.stdout.contains(" ms "), "{text:?}");

    // What another tool has applied took nobody knows how long.
    for sql in [
        "DELETE FROM __diesel_schema_migrations WHERE version = '1'",
        "INSERT INTO __diesel_schema_migrations (version) VALUES ('1')",
    ] {
        database.sql(sql).await.unwrap();
    }
    let status = dbctl.run("migrate status --json").await.json();
    assert_eq!(status[0]["duration_ms"], serde_json::Value::Null);
    // `repair --accept` keeps it.
    dbctl.add_migration("2_b", "alter table a drop column if exists b");
    dbctl.run("migrate repair --accept 2").await.ended_with(0);
    let status = dbctl.run("migrate status --json").await.json();
    assert!(status[1]["duration_ms"].is_u64(), "{status}");
}

/// case R70
#[tokio::test]
async fn five_processes_that_start_together_all_succeed() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::on(&database);
    let outcomes = futures_util::future::join_all((0..5).map(|_| dbctl.run("migrate run"))).await;
    let applied = format!("{} migrations applied", repository_migrations());
    let idle = outcomes.into_iter().map(|outcome| outcome.ended_with(0));
    assert_eq!(
        idle.filter(|outcome| outcome.stderr.contains(&applied))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_failing_migration_is_shown_with_its_place_and_leaves_nothing() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(
        &database,
        "1_a",
        "create table a();\ninsert into b values (1);\n",
    );
    dbctl
        .run("migrate run")
        .await
        .ended_with(1)
        .says("migrations/1_a/up.sql:2:13 with SQLSTATE 42P01, and was rolled back")
        .says("relation \"b\" does not exist")
        .keeps(&database.password());
    assert!(
        !database
            .scalar::<bool>("SELECT to_regclass('a') IS NOT NULL")
            .await
            .unwrap()
    );
}

/// case R02, case R03
#[tokio::test]
async fn a_server_that_cannot_be_used_ends_with_one_message_and_code_8() {
    let database = TestDatabase::empty().await.unwrap();
    let url = database.url();
    let port = format!(":{}/", database.server().port());
    let cases = [
        (url.replace(&database.password(), "canary5ecret"), "28P01"),
        (database.missing_url(), "3D000"),
        (url.replace(&port, ":1/"), "127.0.0.1:1/"),
    ];
    for (url, expected) in cases {
        let outcome = Dbctl::on(&database)
            .with("DATABASE_URL_DIRECT", url)
            .run("migrate run")
            .await;
        let outcome = outcome
            .ended_with(8)
            .says(expected)
            .says("DATABASE_URL_DIRECT")
            .keeps("canary5ecret")
            .keeps(&database.password());
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        assert!(outcome.elapsed < Duration::from_secs(1), "{outcome:?}");
    }
}

/// req 1.11, req 1.13
#[tokio::test]
async fn a_pooled_looking_url_alone_is_refused_before_any_connection() {
    let pooled = "postgres://app:canary5ecret@127.0.0.1:6543/app";
    let dbctl = Dbctl::new().with("DATABASE_URL", pooled);
    dbctl
        .run("migrate run")
        .await
        .ended_with(2)
        .says("DATABASE_URL_DIRECT")
        .keeps("canary5ecret");
}

#[tokio::test]
async fn a_pooler_behind_the_direct_url_ends_with_code_4() {
    let database = TestDatabase::empty().await.unwrap();
    let bouncer = Bouncer::start(database.server(), BouncerOptions::default())
        .await
        .unwrap();
    let dbctl = Dbctl::on(&database).with("DATABASE_URL_DIRECT", database.pooled_url(&bouncer));
    let outcome = dbctl.run("migrate run").await;
    outcome
        .ended_with(4)
        .says("DATABASE_URL_DIRECT")
        .keeps(&database.password());
    let history = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL";
    assert!(!database.scalar::<bool>(history).await.unwrap());
}

/// case R73
#[tokio::test]
async fn an_older_migration_ends_with_code_5_unless_it_is_allowed() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "2_b", "create table b()");
    dbctl.run("migrate run").await.ended_with(0);
    dbctl.add_migration("1_a", "create table a()");
    dbctl
        .run("migrate run")
        .await
        .ended_with(5)
        .says("pending 1_a is older")
        .says("--allow-out-of-order");
    assert_eq!(
        dbctl.run("migrate status --json").await.states(),
        ["out-of-order", "applied"]
    );
    dbctl
        .run("migrate run --allow-out-of-order")
        .await
        .ended_with(0);
}

#[tokio::test]
async fn a_migrator_that_waits_too_long_ends_with_code_7_and_a_signal_ends_the_other() {
    for signal in [Signal::TERM, Signal::INT] {
        a_waiting_migrator_and_a_signal(signal).await;
    }
}

async fn a_waiting_migrator_and_a_signal(signal: Signal) {
    let database = TestDatabase::empty().await.unwrap();
    let slow = "create table a(); select pg_sleep(30)";
    let dbctl = Dbctl::with_migration(&database, "1_a", slow)
        .with("APP_DB__MIGRATIONS__LOCK_WAIT", "300ms");
    let mut holder = dbctl
        .command("migrate run")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let asleep = "SELECT count(*) FROM pg_stat_activity \
                  WHERE datname = current_database() AND query LIKE 'select pg_sleep%'";
    wait_until("the migration sleeps", Duration::from_secs(5), async || {
        database.scalar::<i64>(asleep).await.unwrap() == 1
    })
    .await;

    dbctl
        .run("migrate run")
        .await
        .ended_with(7)
        .says("waiting for another migrator: backend");

    let pid = Pid::from_raw(holder.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
    assert_eq!(holder.wait().await.unwrap().code(), Some(130));
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    wait_until(
        "the server has noticed",
        Duration::from_secs(3),
        async || database.scalar::<i64>(locks).await.unwrap() == 0,
    )
    .await;
    assert!(
        !database
            .scalar::<bool>("SELECT to_regclass('a') IS NOT NULL")
            .await
            .unwrap()
    );
}

/// case R71
#[tokio::test]
async fn a_killed_migrator_leaves_no_lock_and_nothing_half_done() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a()");
    let slow = "create table b(); select case when to_regclass('go') is null then pg_sleep(30) end";
    dbctl.add_migration("2_b", slow);
    let mut killed = dbctl
        .command("migrate run")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let asleep = "SELECT count(*) FROM pg_stat_activity \
                  WHERE datname = current_database() AND query LIKE 'select case%'";
    wait_until("the migration sleeps", Duration::from_secs(5), async || {
        database.scalar::<i64>(asleep).await.unwrap() == 1
    })
    .await;
    killed.kill().await.unwrap();

    database
        .sql("CREATE TABLE go(); GRANT ALL ON go TO PUBLIC")
        .await
        .unwrap();
    // It waits for the server to notice that nobody is there any more: a second at most.
    let outcome = dbctl
        .run("migrate run")
        .await
        .ended_with(0)
        .says("1 migration applied");
    assert!(outcome.elapsed < Duration::from_secs(5), "{outcome:?}");
}

/// case R75
#[tokio::test]
async fn a_migration_without_down_file_is_not_reverted() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a()");
    dbctl.run("migrate run").await.ended_with(0);
    dbctl
        .run("migrate revert")
        .await
        .ended_with(1)
        .says("has no down.sql");
    dbctl.run("migrate status --check").await.ended_with(0);
}

/// case R76
#[tokio::test]
async fn in_production_nothing_is_reverted_without_the_databases_name() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::on(&database).with("APP_ENV", "production");
    dbctl.run("migrate run").await.ended_with(0);
    for command in [
        "migrate revert",
        "migrate revert --all",
        "migrate run --end-idle-blockers 5min",
        "migrate redo",
        "migrate revert --confirm other",
    ] {
        dbctl.run(command).await.ended_with(2).says(database.name());
        dbctl.run("migrate status --check").await.ended_with(0);
    }
    dbctl
        .run(&format!("migrate redo --confirm {}", database.name()))
        .await
        .ended_with(0);
    dbctl
        .run(&format!("migrate revert --confirm {}", database.name()))
        .await
        .ended_with(0);
    dbctl.run("migrate status --check").await.ended_with(3);
}

#[tokio::test]
async fn a_new_migration_gets_both_files_and_can_be_run() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::on(&database).with("APP_DB__MIGRATIONS__DIRECTORY", "migrations");
    let outcome = dbctl.run("migrate new create_notes").await.ended_with(0);
    let folder = dbctl.path(outcome.stdout.trim());
    assert!(folder.ends_with(Path::new(outcome.stdout.trim())));
    assert!(
        outcome.stdout.trim().ends_with("_create_notes"),
        "{outcome:?}"
    );
    fs::write(folder.join("up.sql"), "create table notes()").unwrap();
    fs::write(folder.join("down.sql"), "drop table notes").unwrap();
    dbctl.run("migrate run").await.ended_with(0);
    dbctl.run("migrate redo").await.ended_with(0);
    dbctl.run("migrate new Create-Notes").await.ended_with(2);
}
