//! Files as psql reads them: what it would refuse is refused, and a dump of it can be a migration.

use std::process::Stdio;

use app_db::{EmbeddedMigration, MigrateError};
use harness::TestDatabase;
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
