//! A run as a script for psql.

use std::io::Write;
use std::process::{Command, Stdio};

use app_db::EmbeddedMigration;
use harness::TestDatabase;

use super::{migrator, table};

fn migrations() -> Vec<EmbeddedMigration> {
    vec![
        table(1),
        EmbeddedMigration::new(
            "2_functions",
            "create function f() returns int language sql begin atomic; select 1; end;\n\
             create function g() returns text language plpgsql as $$ begin return ';:x'; end $$ ; -- the end",
        ),
        EmbeddedMigration::new(
            "3_index",
            "set work_mem = '123kB'; create index concurrently t1_i on t1((1));\ncreate index concurrently t1_j on t1((2))",
        )
        .with_metadata("run_in_transaction = false"),
        EmbeddedMigration::new("4_role", "create table t4(); set role migrated"),
        EmbeddedMigration::new("5_limits", "create table t5(a text default 'it''s \\')")
            .with_metadata("run_in_transaction = true\n[dbctl]\nlock_timeout = \"5s\""),
    ]
}

fn psql(url: &str, script: &str) {
    let mut psql = Command::new("psql")
        .args([url, "--no-psqlrc", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    psql.stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = psql.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{script}");
}

/// Everything that migrations make, and what the two tables say.
async fn state(database: &TestDatabase) -> Vec<String> {
    let sql = "SELECT array_agg(line ORDER BY line) FROM ( \
        SELECT c.relname || ' ' || c.relkind::text || ' ' || coalesce(pg_get_indexdef(i.indexrelid), '') || coalesce(i.indisvalid::text, '') AS line \
        FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace \
        UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace \
        UNION ALL SELECT 'owner ' || relname || ' ' || CASE WHEN pg_get_userbyid(relowner) = current_database() THEN 'role' ELSE pg_get_userbyid(relowner) END FROM pg_class WHERE relnamespace = 'public'::regnamespace \
        UNION ALL SELECT 'applied ' || version FROM __diesel_schema_migrations \
        UNION ALL SELECT 'noted ' || s.version || s.sha256_up || (s.run_on = h.run_on)::text || coalesce(s.statements_done::text, '') \
        FROM __dbctl_migrations s JOIN __diesel_schema_migrations h USING (version)) AS lines";
    database.scalar(sql).await.unwrap()
}

#[tokio::test]
async fn psql_leaves_what_a_run_leaves() {
    let (by_run, by_psql) = (
        TestDatabase::empty().await.unwrap(),
        TestDatabase::empty().await.unwrap(),
    );
    migrator(&by_run.url(), &migrations()).run().await.unwrap();

    let scripted = migrator(&by_psql.url(), &migrations());
    let script = scripted.script().await.unwrap();
    let untouched: bool = by_psql
        .scalar("SELECT to_regclass('__diesel_schema_migrations') IS NULL")
        .await
        .unwrap();
    assert!(untouched, "making the script has changed something");
    psql(&by_psql.url(), &script);
    assert_eq!(state(&by_psql).await, state(&by_run).await);
    scripted.assert_up_to_date().await.unwrap();

    // One that is half done goes on in both.
    let more: Vec<_> = migrations().into_iter().chain([table(6)]).collect();
    let script = migrator(&by_psql.url(), &more).script().await.unwrap();
    psql(&by_psql.url(), &script);
    migrator(&by_run.url(), &more).run().await.unwrap();
    assert_eq!(state(&by_psql).await, state(&by_run).await);
}

#[tokio::test]
async fn the_script_stops_where_another_migrator_runs() {
    let database = TestDatabase::empty().await.unwrap();
    let script = migrator(&database.url(), &[table(1)])
        .script()
        .await
        .unwrap();
    let info = migrator(&database.url(), &[]).lock_info().await.unwrap();
    let holder = database.connect().await.unwrap();
    let (classid, objid) = (info.classid.cast_signed(), info.objid.cast_signed());
    holder
        .batch_execute(&format!("SELECT pg_advisory_lock({classid}, {objid})"))
        .await
        .unwrap();
    let held = migrator(&database.url(), &[]).lock_info().await.unwrap();
    assert!(held.holder.is_some(), "{held:?}");
    let result = std::panic::catch_unwind(|| psql(&database.url(), &script));
    assert!(result.is_err(), "psql went on beside another migrator");
    let tables: bool = database
        .scalar("SELECT to_regclass('t1') IS NULL")
        .await
        .unwrap();
    assert!(tables);
}
