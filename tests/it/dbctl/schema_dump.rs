//! `dbctl migrate schema dump`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::TestDatabase;

use super::Dbctl;

#[tokio::test]
async fn psql_reads_the_dump_and_two_dumps_are_the_same() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table a(id bigint primary key)")
        .with("PATH", std::env::var("PATH").unwrap());
    dbctl.run("migrate run").await.ended_with(0);
    let dump = "migrate schema dump --sql";
    let sql = dbctl
        .run(dump)
        .await
        .ended_with(0)
        .keeps(&database.password())
        .stdout;
    assert!(sql.contains("CREATE TABLE public.a"), "{sql}");
    assert!(!sql.contains("_migrations"), "{sql}");
    assert_eq!(dbctl.run(dump).await.ended_with(0).stdout, sql);

    let other = TestDatabase::empty().await.unwrap();
    other.sql(&sql).await.unwrap();
    let there = "SELECT to_regclass('public.a') IS NOT NULL";
    assert!(other.scalar::<bool>(there).await.unwrap());
}

/// A program in the place of diesel's: it shows how it was called.
#[tokio::test]
async fn diesel_gets_the_direct_url_and_nobody_sees_it_among_its_arguments() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::on(&database);
    let missing = dbctl.run("migrate schema dump").await.ended_with(1);
    missing.says("cargo install diesel_cli");

    let diesel = dbctl.path("diesel");
    let script = "#!/bin/sh\necho \"arguments: $*\"\necho \"$DATABASE_URL\" > url\n";
    fs::write(&diesel, script).unwrap();
    fs::set_permissions(&diesel, fs::Permissions::from_mode(0o755)).unwrap();
    let path = dbctl.path(".").to_str().unwrap().to_owned();
    let dbctl = dbctl.with("PATH", path);
    let printed = dbctl.run("migrate schema dump").await.ended_with(0).stdout;
    assert_eq!(printed, "arguments: print-schema\n");
    let url = fs::read_to_string(dbctl.path("url")).unwrap();
    assert!(
        url.contains(&database.password()) && url.contains(database.name()),
        "{url}"
    );
    dbctl.run("migrate schema --check dump").await.ended_with(2);
}
