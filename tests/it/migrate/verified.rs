//! Whether each `down.sql` takes back its `up.sql`.

use app_db::{DirectUrl, EmbeddedMigration, MigrateError, VerifiedMigration};
use harness::TestDatabase;

use super::{migrator, table};

async fn databases(database: &TestDatabase) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM pg_database WHERE starts_with(datname, '{}_')",
        database.name()
    );
    database.scalar(&sql).await.unwrap()
}

async fn may_create_databases(database: &TestDatabase) {
    let sql = format!("ALTER ROLE {} CREATEDB", database.role().name());
    database.sql(&sql).await.unwrap();
}

#[tokio::test]
async fn what_down_leaves_loses_or_changes_is_named() {
    let database = TestDatabase::empty().await.unwrap();
    may_create_databases(&database).await;
    let first = "create table t1(a int not null default 1, b text); create index t1_b on t1(b); \
                 create function f() returns int language sql as 'select 1'";
    let migrations = [
        EmbeddedMigration::new("1_first", first).with_down("drop table t1; drop function f()"),
        EmbeddedMigration::new("2_left", "create type mood as enum ('calm'); create table t2(m mood)")
            .with_down("drop table t2"),
        EmbeddedMigration::new("3_missing", "drop index t1_b").with_down("select 1"),
        EmbeddedMigration::new("4_changed", "alter table t1 alter a drop default; create or replace function f() returns int language sql as 'select 2'")
            .with_down("alter table t1 alter a set default 2"),
        EmbeddedMigration::new("5_one_way", "alter table t1 drop column b"),
        EmbeddedMigration::new("6_fine", "alter table t1 add c int").with_down("alter table t1 drop c"),
    ];
    // What is left behind is in the way of the second `up.sql`, and the end of it.
    let two = [
        migrations[0].clone(),
        migrations[1].clone(),
        migrations[5].clone(),
    ];
    let verified = migrator(&database.url(), &two).verify(None).await.unwrap();
    assert_eq!(verified.migrations.len(), 2);
    let left = &verified.migrations[1];
    assert_eq!(left.left, ["type mood"]);
    assert!(left.different_again[0].contains("42710"), "{left:?}");

    let rest: Vec<_> = migrations
        .iter()
        .enumerate()
        .filter(|(i, _)| ![1, 2].contains(i))
        .map(|(_, m)| m.clone())
        .collect();
    let verified = migrator(&database.url(), &rest).verify(None).await.unwrap();
    let find = |version: &str| -> &VerifiedMigration {
        verified
            .migrations
            .iter()
            .find(|m| m.version == version)
            .unwrap()
    };
    assert!(find("1").is_clean() && find("6").is_clean(), "{verified:?}");
    assert_eq!(find("4").changed, ["column public.t1.a", "function f()"]);
    assert!(!find("5").reversible && find("5").is_clean());
    assert!(!verified.is_clean());

    let missing = [
        migrations[0].clone(),
        EmbeddedMigration::new("3_missing", "drop index if exists t1_b").with_down("select 1"),
    ];
    let verified = migrator(&database.url(), &missing)
        .verify(None)
        .await
        .unwrap();
    assert_eq!(verified.migrations[1].missing, ["index public.t1_b"]);
    let left = [EmbeddedMigration::new(
        "1_left",
        "create table if not exists t1(); create schema if not exists s",
    )
    .with_down("select 1")];
    let verified = migrator(&database.url(), &left).verify(None).await.unwrap();
    assert_eq!(verified.migrations[0].left, ["schema s", "table public.t1"]);

    assert_eq!(
        databases(&database).await,
        0,
        "the scratch databases are gone"
    );
    let own: bool = database
        .scalar("SELECT to_regclass('t1') IS NULL")
        .await
        .unwrap();
    assert!(own, "its own database is untouched");
}

#[tokio::test]
async fn a_scratch_database_that_is_not_empty_is_left_alone() {
    let (database, scratch) = (
        TestDatabase::empty().await.unwrap(),
        TestDatabase::empty().await.unwrap(),
    );
    let url = DirectUrl::parse(&scratch.url()).unwrap();
    let migrator = migrator(&database.url(), &[table(1)]);
    assert!(migrator.verify(Some(&url)).await.unwrap().is_clean());
    let again = migrator.verify(Some(&url)).await;
    assert!(
        matches!(again, Err(MigrateError::NotEmpty { .. })),
        "{again:?}"
    );
}
