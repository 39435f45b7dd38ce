//! `dbctl migrate wait`, `lock`, `baseline`, `verify` and `schema`.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use harness::{TestDatabase, wait_until};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::Dbctl;

#[tokio::test]
async fn a_container_waits_until_somebody_else_has_migrated() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a()");
    let vain = dbctl
        .run("migrate wait --timeout 600ms")
        .await
        .ended_with(7)
        .says("1 is pending");
    assert!(vain.elapsed > Duration::from_millis(500) && vain.elapsed < Duration::from_secs(4));
    let mut waiting = dbctl
        .command("migrate wait --timeout 20s")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let told = log.next_line().await.unwrap().unwrap();
    assert!(
        told.contains("waiting until the migrations are applied"),
        "{told}"
    );
    dbctl.run("migrate run").await.ended_with(0);
    assert_eq!(waiting.wait().await.unwrap().code(), Some(0));
    dbctl.run("migrate wait --timeout 0s").await.ended_with(0);
    // Ahead is fine.
    fs::remove_dir_all(dbctl.path("migrations/1_a")).unwrap();
    dbctl.run("migrate wait --timeout 0s").await.ended_with(0);
    let url = database
        .url()
        .replace(&format!(":{}/", database.server().port()), ":1/");
    let nobody = dbctl.with("DATABASE_URL_DIRECT", url);
    nobody
        .run("migrate wait --timeout 100ms")
        .await
        .ended_with(8);
}

#[tokio::test]
async fn the_lock_is_shown_with_its_holder_and_can_be_taken_from_it() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a(); select pg_sleep(60)");
    let free = dbctl
        .run("migrate lock info --json")
        .await
        .ended_with(0)
        .json();
    assert_eq!(free["holder"], serde_json::Value::Null);
    assert_eq!(free["database"], database.name());
    let mut holder = dbctl
        .command("migrate run")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'select pg_sleep%'";
    wait_until("the migration sleeps", crate::SOON, async || {
        database.scalar::<i64>(asleep).await.unwrap() == 1
    })
    .await;
    let held = dbctl
        .run("migrate lock info --json")
        .await
        .ended_with(0)
        .json();
    let in_locks = format!(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = {} AND objid = {}",
        held["classid"], held["objid"]
    );
    let pid: i32 = database.scalar(&in_locks).await.unwrap();
    assert_eq!(held["holder"]["pid"], pid);
    assert_eq!(held["holder"]["application_name"], "app-db migrator");
    let text = dbctl.run("migrate lock info").await.ended_with(0).stdout;
    assert!(text.contains(&format!("backend {pid}")), "{text}");

    dbctl
        .run("migrate lock force-release")
        .await
        .ended_with(2)
        .says(database.name());
    let release = format!("migrate lock force-release --confirm {}", database.name());
    dbctl
        .run(&release)
        .await
        .ended_with(0)
        .says(&format!("ended backend {pid}"));
    assert_eq!(holder.wait().await.unwrap().code(), Some(1));
    dbctl
        .run(&release)
        .await
        .ended_with(0)
        .says("nobody has the lock");
}

#[tokio::test]
async fn a_baseline_needs_the_schema_and_runs_nothing() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a(); select 1/0");
    dbctl.add_migration("2_b", "create table b()");
    dbctl
        .run("migrate baseline --to 1")
        .await
        .ended_with(1)
        .says("does not have a");
    dbctl.run("migrate baseline").await.ended_with(2);
    dbctl.run("migrate baseline --to 7").await.ended_with(2);
    database.sql("CREATE TABLE a()").await.unwrap();
    dbctl
        .run("migrate baseline --to 1_a")
        .await
        .ended_with(0)
        .says("recorded 1_a");
    assert_eq!(
        dbctl.run("migrate status --json").await.states(),
        ["applied", "pending"]
    );
    dbctl
        .run("migrate run")
        .await
        .ended_with(0)
        .says("1 migration applied");
}

#[tokio::test]
async fn a_down_file_that_is_not_the_inverse_fails_and_names_the_objects() {
    let (database, scratch) = (
        TestDatabase::empty().await.unwrap(),
        TestDatabase::empty().await.unwrap(),
    );
    let dbctl = Dbctl::with_migration(
        &database,
        "1_a",
        "create table a(id int); create index if not exists a_id on a(id)",
    );
    fs::write(dbctl.path("migrations/1_a/down.sql"), "drop table a").unwrap();
    dbctl.add_migration("2_b", "alter table a add column if not exists b text");
    fs::write(dbctl.path("migrations/2_b/down.sql"), "select 1").unwrap();
    let verify = format!("migrate verify --scratch-url {}", scratch.url());
    let outcome = dbctl.run(&verify).await.ended_with(1);
    assert_eq!(
        outcome.stdout,
        "2_b: column public.a.b is left behind by down.sql\n"
    );
    dbctl.run("migrate status --check").await.ended_with(3);
    // It is not empty any more.
    dbctl.run(&verify).await.ended_with(2).says("is not empty");

    fs::write(
        dbctl.path("migrations/2_b/down.sql"),
        "alter table a drop column b",
    )
    .unwrap();
    let other = TestDatabase::empty().await.unwrap();
    let json = dbctl
        .run(&format!(
            "migrate verify --json --scratch-url {}",
            other.url()
        ))
        .await
        .ended_with(0)
        .keeps(&other.password())
        .json();
    assert_eq!(json["migrations"][1]["left"], serde_json::json!([]));
}

#[tokio::test]
async fn schema_rs_is_compared_with_the_database() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(
        &database,
        "1_a",
        "create type mood as enum ('calm'); create table a(id bigint primary key, m mood, t text[] not null)",
    );
    dbctl.run("migrate run").await.ended_with(0);
    fs::create_dir(dbctl.path("src")).unwrap();
    let schema = r#"
        pub mod sql_types {
            #[derive(diesel::sql_types::SqlType)]
            #[diesel(postgres_type(name = "mood"))]
            pub struct Mood;
        }
        diesel::table! {
            use diesel::sql_types::*;
            use super::sql_types::Mood;
            a (id) { id -> Int8, m -> Nullable<Mood>, t -> Array<Nullable<Text>>, }
        }
    "#;
    fs::write(dbctl.path("src/schema.rs"), schema).unwrap();
    let same = dbctl.run("migrate schema --check").await.ended_with(0);
    assert_eq!(same.stdout, "");
    database
        .sql("ALTER TABLE a ADD COLUMN b int; ALTER TABLE a ALTER t DROP NOT NULL")
        .await
        .unwrap();
    dbctl.run("migrate schema").await.ended_with(0);
    let json = dbctl
        .run("migrate schema --check --json")
        .await
        .ended_with(5)
        .json();
    let objects: Vec<_> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["object"].as_str().unwrap())
        .collect();
    assert_eq!(objects, ["a.b", "a.t"]);
    let named = "migrate schema --check --file elsewhere.rs";
    dbctl.run(named).await.ended_with(1).says("elsewhere.rs");
    fs::remove_file(dbctl.path("src/schema.rs")).unwrap();
    dbctl
        .run("migrate schema --check")
        .await
        .ended_with(2)
        .says("there is no src/schema.rs: name the file by `--file`");
}

/// diesel's own settings name the folder, where nothing else does.
#[tokio::test]
async fn the_folder_of_diesel_toml_is_used() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::new()
        .with("DATABASE_URL", database.url())
        .with("DATABASE_URL_DIRECT", database.url());
    let folder = dbctl.path("db/steps/1_a");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("up.sql"), "create table a()").unwrap();
    fs::write(
        dbctl.path("diesel.toml"),
        "[migrations_directory]\ndir = \"db/steps\"\n",
    )
    .unwrap();
    dbctl
        .run("migrate run")
        .await
        .ended_with(0)
        .says("1 migration applied");
    let made = dbctl
        .run("migrate new next_step")
        .await
        .ended_with(0)
        .stdout;
    assert!(made.contains("db/steps/"), "{made}");
}
