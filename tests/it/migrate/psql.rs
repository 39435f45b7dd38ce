//! Files as psql reads them: what it would refuse is refused, and a dump of it can be a migration.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use app_db::{EmbeddedMigration, MigrateError};
use harness::{TestDatabase, wait_until};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::{failed, migrator, server_state, table};

/// What has no end reaches the server, which refuses it, as it does when psql sends it.
#[tokio::test]
async fn a_file_with_something_unclosed_is_never_recorded() {
    for metadata in ["run_in_transaction = true", "run_in_transaction = false"] {
        for unclosed in [
            "/* create table t3();",
            "/* a /* b */ create table t3();",
            "create table t3(); /* insert into t1",
            "create /* table t3()",
            "select 'it; create table t3();",
            "select E'\\'; create table t3();",
            "select U&'a; create table t3();",
            "select \"a; create table t3();",
            "select $$a; create table t3();",
            "select $t$a$$; create table t3(); $T$",
            "create table t3(a int; create table t4();",
            "create function f() returns int begin atomic select 1; create table t3();",
        ] {
            let database = TestDatabase::empty().await.unwrap();
            let broken = EmbeddedMigration::new("2_broken", unclosed).with_metadata(metadata);
            let error = migrator(&database.url(), &[table(1), broken]).run().await;
            let error = failed(error.expect_err(unclosed));
            assert_eq!(
                error.sqlstate.as_ref().unwrap().code(),
                "42601",
                "{unclosed}"
            );
            let (tables, versions) = server_state(&database).await;
            assert_eq!(versions, ["1"], "{unclosed}");
            if metadata.ends_with("true") {
                assert_eq!(tables, ["t1"], "{unclosed}");
            }
        }
    }
}

#[tokio::test]
async fn what_only_psql_can_run_is_refused_before_anything_runs() {
    let database = TestDatabase::empty().await.unwrap();
    for (sql, named) in [
        (
            "create table t2(a int);\nCOPY t2 (a) FROM stdin;\n1\n\\.\n",
            "`COPY .. FROM stdin` in line 2",
        ),
        ("copy (select 1) to stdout", "`COPY .. TO stdout` in line 1"),
        ("\\set ON_ERROR_STOP on\ncreate table t2();", "`\\set`"),
        ("create table t2();\n\\i more.sql", "`\\i`"),
        ("\\connect other", "`\\connect`"),
        ("", "no statement"),
        ("-- to do", "no statement"),
    ] {
        let broken = EmbeddedMigration::new("2_psql", sql);
        let error = migrator(&database.url(), &[table(1), broken])
            .run()
            .await
            .unwrap_err();
        assert!(matches!(error, MigrateError::Source { .. }), "{error:?}");
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(server_state(&database).await, (vec![], vec![]));
    }
}

/// The output of a client program of PostgreSQL on `database`, given `input`.
async fn client(program: &str, arguments: &[&str], database: &TestDatabase) -> String {
    let output = Command::new(program)
        .args(arguments)
        .args(["-d", &database.url()])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A dump without what differs from run to run: the key of its guards.
fn comparable(dump: &str) -> String {
    let lines = dump.lines().filter(|line| !line.starts_with('\\'));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_dump_is_a_migration_and_gives_what_psql_gives() {
    let origin = TestDatabase::empty().await.unwrap();
    let schema = r#"
        create type mood as enum ('it''s; fine', E'back\\slash\';'
            '\';more');
        create table t1(a int primary key, "b;c" mood, d text default $$;'"$$,
            check (d <> '/* ' or d <> ' */'));
        create function f(a int) returns int begin atomic
            select case when a > 1 then 2 else 3 end; select 4; end;
        create rule r as on insert to t1 do also (delete from t1 where a = 7; select 1);
        comment on table t1 is '-- ; not a comment';
        insert into t1 (a, d) values (1, '\restrict'), (2, 'it''s');
    "#;
    let made = origin.connect().await.unwrap();
    made.batch_execute(schema).await.unwrap();

    let dump = client("pg_dump", &["--inserts"], &origin).await;
    let copy = TestDatabase::empty().await.unwrap();
    let dumped = EmbeddedMigration::new("1_dump", dump.replace(origin.name(), copy.name()));
    migrator(&copy.url(), &[dumped]).run().await.unwrap();
    // The migrator's own two tables.
    let without = ["--inserts", "-T", "__d*_migrations"];
    let copied = client("pg_dump", &without, &copy).await;
    assert_eq!(
        comparable(&copied).replace(copy.name(), origin.name()),
        comparable(&dump)
    );
}

/// One that is as slow as its reader: nobody reads what it writes, until the lock has been held for a minute.
#[tokio::test]
async fn a_dump_of_a_minute_is_named_and_waited_out_and_readers_wait_no_longer_than_one_lock_timeout()
 {
    let database = TestDatabase::empty().await.unwrap();
    let large = "create table t1(a text); alter table t1 alter a set storage external; \
                 insert into t1 select repeat(md5(i::text), 100) from generate_series(1, 10000) i";
    migrator(&database.url(), &[EmbeddedMigration::new("1_t1", large)])
        .run()
        .await
        .unwrap();
    let mut dump = Command::new("pg_dump")
        .args(["-d", &database.url()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    wait_until("the dump is full", crate::SOON, async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' \
                   AND datname = current_database() AND wait_event = 'ClientWrite'";
        database.scalar::<i64>(sql).await.unwrap() == 1
    })
    .await;
    let began = Instant::now();

    let waits = Arc::new(Mutex::new(Vec::<Value>::new()));
    let hearing = Arc::clone(&waits);
    let alter = EmbeddedMigration::new("2_alter", "alter table t1 add column b int");
    let altering = migrator(&database.url(), &[alter]).on_event(move |event| {
        let event = serde_json::to_value(event).unwrap();
        hearing.lock().unwrap().push(event);
    });
    let over = AtomicBool::new(false);
    let reading = async {
        let reader = database.connect().await.unwrap();
        let mut slowest = Duration::ZERO;
        while !over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            reader
                .batch_execute("SELECT FROM t1 LIMIT 1")
                .await
                .unwrap();
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        slowest
    };
    let dumping = async {
        wait_until("a minute has passed", Duration::from_secs(90), async || {
            began.elapsed() >= Duration::from_secs(60)
        })
        .await;
        let mut written = Vec::new();
        let mut output = dump.stdout.take().unwrap();
        output.read_to_end(&mut written).await.unwrap();
        assert!(dump.wait().await.unwrap().success());
        written.len()
    };
    let migrating = async {
        let applied = altering.run().await;
        over.store(true, Ordering::Relaxed);
        applied.unwrap().len()
    };
    let (applied, written, slowest) = tokio::join!(migrating, dumping, reading);
    assert_eq!(applied, 1);
    assert!(written > 30_000_000, "the dump is not whole: {written}");
    let waits = waits.lock().unwrap();
    let of = |name: &str| {
        waits
            .iter()
            .filter(|event| event["event"] == name)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("waiting")[0]["on"], "table t1");
    assert_eq!(
        of("waiting")[0]["blockers"][0]["application_name"],
        "pg_dump"
    );
    assert!(of("retried").len() >= 3, "{waits:?}");
    // The migration waits for 2 s, and the readers behind it no longer.
    assert!(
        slowest > Duration::from_secs(1),
        "nobody waited: {slowest:?}"
    );
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
}
