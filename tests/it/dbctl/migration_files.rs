//! `dbctl migrate`: files that are missing, empty, edited or of one second, and what the messages advise.

use std::fs;

use harness::TestDatabase;

use super::Dbctl;

#[tokio::test]
async fn two_new_migrations_within_a_second_can_both_be_run() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::on(&database).with("APP_DB__MIGRATIONS__DIRECTORY", "migrations");
    let names = (0..5).map(|n| format!("migrate new table_{n}"));
    let commands: Vec<_> = names.collect();
    let made = commands.iter().map(|command| dbctl.run(command));
    for outcome in futures_util::future::join_all(made).await {
        let folder = dbctl.path(outcome.ended_with(0).stdout.trim());
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let (_, table) = name.split_once('_').unwrap();
        fs::write(folder.join("up.sql"), format!("create table {table}()")).unwrap();
    }
    dbctl
        .run("migrate run")
        .await
        .ended_with(0)
        .says("5 migrations applied");
}

#[tokio::test]
async fn a_new_migration_that_nobody_has_written_is_refused() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::on(&database).with("APP_DB__MIGRATIONS__DIRECTORY", "migrations");
    dbctl.run("migrate new create_notes").await.ended_with(0);
    dbctl
        .run("migrate run")
        .await
        .ended_with(1)
        .says("has no statement")
        .says("--allow-empty");
    dbctl.run("migrate status --check").await.ended_with(3);
    dbctl.run("migrate run --allow-empty").await.ended_with(0);
    dbctl.run("migrate redo").await.ended_with(1);
    dbctl.run("migrate redo --allow-empty").await.ended_with(0);
}

#[tokio::test]
async fn a_missing_directory_is_named_with_its_whole_path() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::on(&database).with("APP_DB__MIGRATIONS__DIRECTORY", "no_such/migrations");
    let expected = dbctl.path("no_such/migrations");
    let expected = fs::canonicalize(expected.parent().unwrap().parent().unwrap())
        .unwrap()
        .join("no_such/migrations");
    for command in ["migrate run", "migrate status"] {
        dbctl.run(command).await.ended_with(1).says(&format!(
            "{} does not exist; run this in the service's folder, set `migrations.directory`",
            expected.display()
        ));
    }
}

#[tokio::test]
async fn a_statement_that_needs_no_transaction_names_the_line_for_its_metadata() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(
        &database,
        "1_a",
        "create table a(b int);\ncreate index concurrently c on a(b);",
    );
    dbctl
        .run("migrate run")
        .await
        .ended_with(1)
        .says("with SQLSTATE 25001, and was rolled back")
        .says("migrations/1_a/metadata.toml says `run_in_transaction = false`");
    let metadata = dbctl.path("migrations/1_a/metadata.toml");
    fs::write(&metadata, "").unwrap();
    dbctl
        .run("migrate run")
        .await
        .ended_with(1)
        .says("`run_in_transaction = false`");
    fs::write(&metadata, "run_in_transaction = false").unwrap();
    dbctl.run("migrate run").await.ended_with(0);
}

#[tokio::test]
async fn a_record_that_cannot_be_written_names_its_migration() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a()");
    dbctl.add_migration("2_b", "set transaction read only");
    dbctl
        .run("migrate run")
        .await
        .ended_with(1)
        .says("cannot record migration 2_b in \"public\".__diesel_schema_migrations");
}

#[tokio::test]
async fn an_unfinished_migration_goes_on_or_starts_again_when_it_is_told_to() {
    let database = TestDatabase::empty().await.unwrap();
    let sql = "create table a();\nselect 1 / (to_regclass('go') is not null)::int;\n";
    let dbctl = Dbctl::with_migration(&database, "1_a", sql);
    let metadata = dbctl.path("migrations/1_a/metadata.toml");
    fs::write(metadata, "run_in_transaction = false").unwrap();
    dbctl.run("migrate run").await.ended_with(1);
    let status = dbctl.run("migrate status --json").await;
    assert_eq!(status.states(), ["unfinished"]);

    dbctl.add_migration("1_a", &sql.replace("table a", "table aa"));
    dbctl
        .run("migrate run")
        .await
        .ended_with(5)
        .says("interrupted after 1 statement, edited since")
        .says("dbctl migrate repair --restart 1");
    let listed = dbctl.run("migrate repair").await.ended_with(0);
    assert!(
        listed
            .stdout
            .contains("1 of 2 statements have run, edited since"),
        "{listed:?}"
    );
    dbctl.run("migrate repair --restart 1").await.ended_with(0);
    dbctl.run("migrate repair --restart 1").await.ended_with(1);
    database
        .sql("CREATE TABLE go(); GRANT ALL ON go TO PUBLIC")
        .await
        .unwrap();
    dbctl.run("migrate run").await.ended_with(0);
}

#[tokio::test]
async fn an_unfinished_migration_begins_with_the_statement_that_is_named() {
    let database = TestDatabase::empty().await.unwrap();
    let sql = "create table a();\ninsert into nowhere values (1);\ncreate table b();\n";
    let dbctl = Dbctl::with_migration(&database, "1_a", sql);
    dbctl.add_migration("2_b", "select 1");
    let metadata = dbctl.path("migrations/1_a/metadata.toml");
    fs::write(metadata, "run_in_transaction = false").unwrap();
    dbctl.run("migrate run").await.ended_with(1);
    for (at, problem) in [
        ("--restart 1 --at 5", "it has 3 statements"),
        ("--restart 1 --at 0", "it has 3 statements"),
        ("--restart 2 --at 1", "it runs in a transaction"),
        ("--restart 3 --at 1", "its files are not here"),
    ] {
        dbctl
            .run(&format!("migrate repair {at}"))
            .await
            .ended_with(1)
            .says(problem);
    }
    dbctl.run("migrate repair --at 1").await.ended_with(2);
    // Somebody has done by hand what the second statement cannot.
    dbctl
        .run("migrate repair --restart 1 --at 3")
        .await
        .ended_with(0)
        .says("1 goes on with statement 3");
    dbctl.run("migrate run").await.ended_with(0);
    let both = "SELECT to_regclass('a') IS NOT NULL AND to_regclass('b') IS NOT NULL";
    assert!(database.scalar::<bool>(both).await.unwrap());
    dbctl
        .run("migrate repair --restart 1 --at 1")
        .await
        .ended_with(1)
        .says("it is applied");
}

/// A run that was killed may have run the last statement and not noted it.
#[tokio::test]
async fn an_unfinished_migration_that_has_run_to_its_end_is_only_recorded() {
    let database = TestDatabase::empty().await.unwrap();
    let sql = "create table a();\nselect 1 / (to_regclass('go') is not null)::int;\n";
    let dbctl = Dbctl::with_migration(&database, "1_a", sql);
    let metadata = dbctl.path("migrations/1_a/metadata.toml");
    fs::write(metadata, "run_in_transaction = false").unwrap();
    dbctl.run("migrate run").await.ended_with(1);
    dbctl
        .run("migrate repair --restart 1 --at 3")
        .await
        .ended_with(0);
    dbctl.run("migrate run").await.ended_with(0);
    assert_eq!(
        dbctl.run("migrate status --json").await.states(),
        ["applied"]
    );
}

#[tokio::test]
async fn an_edited_migration_ends_with_code_5_until_it_is_accepted() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "2026-11-20-000000_a", "create table a();\n");
    dbctl.run("migrate run").await.ended_with(0);
    dbctl.add_migration("2026-11-20-000000_a", "create table a ();\n");
    dbctl.add_migration("2026-11-21-000000_b", "create table b();\n");
    assert_eq!(
        dbctl.run("migrate status --json").await.states(),
        ["drifted", "pending"]
    );
    dbctl.run("migrate status").await.ended_with(5);
    dbctl.run("migrate status --check").await.ended_with(5);
    dbctl
        .run("migrate run")
        .await
        .ended_with(5)
        .says("20261120000000_a was edited after it was applied")
        .says("dbctl migrate repair --accept 20261120000000");
    dbctl
        .run("migrate repair --accept 2026-11-21-000000_b")
        .await
        .ended_with(1)
        .says("no record of it");
    dbctl
        .run("migrate repair --accept 2026-11-20-000000")
        .await
        .ended_with(0);
    dbctl.run("migrate status --check").await.ended_with(3);
    dbctl.run("migrate run").await.ended_with(0);
}

#[tokio::test]
async fn repair_lists_what_is_wrong_with_the_way_out_of_each() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(
        &database,
        "1_a",
        "create table a(x int);\ninsert into a values (1), (1);\n",
    );
    dbctl.run("migrate run").await.ended_with(0);
    let nothing = dbctl.run("migrate repair").await.ended_with(0);
    assert_eq!(nothing.says("nothing to repair").stdout, "");

    dbctl.add_migration(
        "2_b",
        "select 1;\ncreate unique index concurrently a_x on a(x);\n",
    );
    let metadata = dbctl.path("migrations/2_b/metadata.toml");
    fs::write(metadata, "run_in_transaction = false").unwrap();
    dbctl.run("migrate run").await.ended_with(1);
    let others = database.connect().await.unwrap();
    let index = "CREATE UNIQUE INDEX CONCURRENTLY a_others ON a(x)";
    others.batch_execute(index).await.unwrap_err();
    dbctl.add_migration("1_a", "create table a(x bigint);\n");

    let json = dbctl
        .run("migrate repair --json")
        .await
        .ended_with(0)
        .json();
    let expected = serde_json::json!([
        { "kind": "edited", "version": "1", "migration": "1_a" },
        { "kind": "unfinished", "version": "2", "migration": "2_b", "done": 1, "of": 2, "edited": false },
        { "kind": "invalid-index", "index": "public.a_others", "table": "public.a",
          "built_by": null, "rebuilt_by": null, "lacks_partitions": false },
        { "kind": "invalid-index", "index": "public.a_x", "table": "public.a",
          "built_by": null, "rebuilt_by": "2_b", "lacks_partitions": false },
    ]);
    assert_eq!(json, expected);
    let text = dbctl.run("migrate repair").await.ended_with(0).stdout;
    for way_out in [
        "dbctl migrate repair --accept 1",
        "`dbctl migrate run` continues after them",
        "DROP INDEX CONCURRENTLY public.a_others",
        "drops it and builds it again (2_b)",
    ] {
        assert!(text.contains(way_out), "no {way_out} in\n{text}");
    }
    dbctl
        .run("migrate repair --json --accept 1")
        .await
        .ended_with(2);
}
