//! `dbctl migrate plan`, `run` with `--dry-run`, `--sql`, `--json`, `--to`, `--step` and `--phase`.

use std::fs;

use harness::TestDatabase;

use super::Dbctl;

fn contract(dbctl: &Dbctl, migration: &str) {
    let metadata = dbctl.path(&format!("migrations/{migration}/metadata.toml"));
    fs::write(
        metadata,
        "run_in_transaction = true\n\n[dbctl]\nphase = \"contract\"\n",
    )
    .unwrap();
}

async fn made(database: &TestDatabase) -> i64 {
    let sql = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^[abc]$'";
    database.scalar(sql).await.unwrap()
}

#[tokio::test]
async fn a_plan_is_data_and_changes_nothing() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a(id int)");
    dbctl.run("migrate run").await.ended_with(0);
    dbctl.add_migration(
        "2_b",
        "alter table a add column b int;\ncreate index on a(b);\n",
    );
    for command in ["migrate plan", "migrate run --dry-run"] {
        let text = dbctl.run(command).await.ended_with(0).stdout;
        assert!(
            text.contains("AccessExclusiveLock") && text.contains("public.a"),
            "{text}"
        );
        let json = dbctl
            .run(&format!("{command} --json"))
            .await
            .ended_with(0)
            .json();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["database"], database.name());
        let statements = &json["migrations"][0]["statements"];
        assert_eq!(statements[0]["lock_mode"], "AccessExclusiveLock");
        assert_eq!(statements[1]["lock_mode"], "ShareLock");
        assert_eq!(statements[1]["line"], 2);
        assert_eq!(statements[1]["scan"], true);
        assert_eq!(statements[0]["relations"][0]["relation"], "public.a");
    }
    dbctl.run("migrate status --check").await.ended_with(3);
    dbctl.run("migrate run").await.ended_with(0);
    let nothing = dbctl
        .run("migrate plan")
        .await
        .ended_with(0)
        .says("nothing to do");
    assert_eq!(nothing.stdout, "");
    assert_eq!(
        dbctl.run("migrate plan --json").await.json()["migrations"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn a_plan_that_is_tried_out_is_rolled_back_and_needs_the_name_in_production() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a(x int)");
    dbctl.run("migrate run").await.ended_with(0);
    dbctl.add_migration("2_b", "do $$ begin lock table a; end $$");
    dbctl.add_migration("3_c", "create index concurrently a_x on a(x)");
    let outside = dbctl.path("migrations/3_c/metadata.toml");
    fs::write(outside, "run_in_transaction = false").unwrap();
    let dbctl = dbctl.with("APP_ENV", "production");
    dbctl
        .run("migrate plan --execute-rollback")
        .await
        .ended_with(2)
        .says("taking locks in prod needs");
    let try_out = format!(
        "migrate plan --execute-rollback --confirm {}",
        database.name()
    );
    let text = dbctl
        .run(&try_out)
        .await
        .ended_with(0)
        .says("rolled back; 1 not tried, from 3_c on, which runs outside a transaction")
        .stdout;
    let tried = text.lines().find(|line| line.starts_with("2_b")).unwrap();
    assert!(
        tried.contains("AccessExclusiveLock") && tried.trim_end().ends_with(" ms"),
        "{text}"
    );
    let json = dbctl.run(&format!("{try_out} --json")).await.json();
    let statement = |at: usize| &json["migrations"][at]["statements"][0]["rehearsed"];
    assert_eq!(statement(0)["locks"][0]["relation"], "public.a");
    assert!(statement(0)["elapsed_ms"].is_u64());
    assert!(statement(1).is_null());
    dbctl.run("migrate status --check").await.ended_with(3);
}

#[tokio::test]
async fn the_script_and_the_json_lines_are_all_that_stands_on_standard_output() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a();\nselect 1;");
    dbctl.add_migration("2_b", "create table b();\nselect nothing");
    let script = dbctl.run("migrate run --sql").await.ended_with(0).stdout;
    assert!(
        script.starts_with("-- ") && script.contains("create table b()"),
        "{script}"
    );
    assert_eq!(made(&database).await, 0);
    dbctl.run("migrate run --sql --json").await.ended_with(2);

    let outcome = dbctl.run("migrate run --json").await.ended_with(1);
    let lines = outcome.json_lines();
    assert!(lines.iter().all(|line| line["schema"] == 1), "{lines:?}");
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        [
            "started",
            "statement",
            "statement",
            "finished",
            "started",
            "statement",
            "statement",
            "failed"
        ]
    );
    assert_eq!(lines[7]["line"], 2);
    assert!(
        lines[7]["message"]
            .as_str()
            .unwrap()
            .contains("column \"nothing\" does not exist")
    );

    // What fails before the first migration is told too.
    dbctl.add_migration("1_a", "create table a(b int)");
    let drifted = dbctl
        .run("migrate run --json")
        .await
        .ended_with(5)
        .json_lines();
    assert_eq!(drifted[0]["event"], "failed");
    assert!(
        drifted[0]["message"]
            .as_str()
            .unwrap()
            .contains("was edited")
    );
}

#[tokio::test]
async fn a_run_applies_what_was_planned_or_nothing() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a()");
    dbctl.add_migration("3_c", "create table c()");
    let plan = dbctl.run("migrate plan --json").await.ended_with(0).stdout;
    fs::write(dbctl.path("plan.json"), plan).unwrap();
    let run = "migrate run --plan-file plan.json";

    dbctl.add_migration("3_c", "create table c(id int)");
    dbctl
        .run(run)
        .await
        .ended_with(5)
        .says("not what was planned: 3_c has another up.sql");
    dbctl.add_migration("3_c", "create table c()\r\n");
    dbctl.add_migration("2_b", "create table b()");
    dbctl
        .run(run)
        .await
        .ended_with(5)
        .says("2_b is pending, but not planned");
    assert_eq!(made(&database).await, 0);
    // What is applied already may stand in it, and the same flags go with it.
    fs::remove_dir_all(dbctl.path("migrations/2_b")).unwrap();
    dbctl.run("migrate run --step 1").await.ended_with(0);
    dbctl
        .run(&format!("{run} --to 1"))
        .await
        .ended_with(5)
        .says("3_c is planned, but not pending");
    dbctl
        .run(run)
        .await
        .ended_with(0)
        .says("1 migration applied");
    dbctl.run(run).await.ended_with(0).says("nothing to do");

    let other = TestDatabase::empty().await.unwrap();
    let elsewhere = dbctl
        .with("DATABASE_URL", other.url())
        .with("DATABASE_URL_DIRECT", other.url());
    elsewhere
        .run(run)
        .await
        .ended_with(5)
        .says(&format!("it is for the database {}", database.name()));
    fs::write(elsewhere.path("plan.json"), "{}").unwrap();
    elsewhere
        .run(run)
        .await
        .ended_with(2)
        .says("plan.json: this is no plan");
    elsewhere
        .run("migrate run --plan-file nowhere.json")
        .await
        .ended_with(2)
        .says("nowhere.json");
}

#[tokio::test]
async fn a_run_ends_where_it_is_told_to() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "2026-01-01-000000_a", "create table a()");
    dbctl.add_migration("2026-01-02-000000_b", "create table b()");
    dbctl.add_migration("2026-01-03-000000_c", "create table c()");
    for (name, table) in [("01", "a"), ("02", "b"), ("03", "c")] {
        let down = dbctl.path(&format!(
            "migrations/2026-01-{name}-000000_{table}/down.sql"
        ));
        fs::write(down, format!("drop table {table}")).unwrap();
    }
    dbctl
        .run("migrate run --to 2026-01-01-000000")
        .await
        .ended_with(0);
    assert_eq!(made(&database).await, 1);
    dbctl.run("migrate run --step 1").await.ended_with(0);
    assert_eq!(made(&database).await, 2);
    dbctl
        .run("migrate run --to 20260101000000_a")
        .await
        .ended_with(2)
        .says("dbctl migrate revert --to 20260101000000");
    dbctl
        .run("migrate run --to 2027")
        .await
        .ended_with(2)
        .says("2027");
    dbctl.run("migrate run --step 0").await.ended_with(2);
    assert_eq!(made(&database).await, 2);
    dbctl.run("migrate up").await.ended_with(0);
    assert_eq!(made(&database).await, 3);
    dbctl
        .run("migrate revert --to 20260101000000")
        .await
        .ended_with(0)
        .says("2 migrations reverted");
    assert_eq!(made(&database).await, 1);
    dbctl
        .run("migrate revert --to 20260101000000 --all")
        .await
        .ended_with(2);
}

#[tokio::test]
async fn in_production_one_run_does_not_go_through_both_phases() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a()");
    dbctl.add_migration("2_b", "create table b()");
    contract(&dbctl, "2_b");
    let dbctl = dbctl.with("APP_ENV", "production");
    dbctl
        .run("migrate run")
        .await
        .ended_with(2)
        .says("2_b is of the phase `contract`")
        .says("--phase expand");
    assert_eq!(made(&database).await, 0);
    dbctl
        .run("migrate run --phase contract")
        .await
        .ended_with(2)
        .says("1_a");
    dbctl
        .run("migrate run --phase expand")
        .await
        .ended_with(0)
        .says("1 migration applied");
    dbctl
        .run("migrate run --phase expand")
        .await
        .ended_with(0)
        .says("nothing to do");
    assert_eq!(made(&database).await, 1);
    dbctl
        .run("migrate run --phase contract")
        .await
        .ended_with(0)
        .says("1 migration applied");
    dbctl.run("migrate run --phase both").await.ended_with(2);

    let other = TestDatabase::empty().await.unwrap();
    let confirmed = dbctl
        .with("DATABASE_URL", other.url())
        .with("DATABASE_URL_DIRECT", other.url());
    confirmed
        .run("migrate run --confirm wrong")
        .await
        .ended_with(2);
    let confirm = format!("migrate run --confirm {}", other.name());
    confirmed
        .run(&confirm)
        .await
        .ended_with(0)
        .says("2 migrations applied");
}
