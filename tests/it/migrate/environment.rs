//! Servers and roles that do not let a migration through, each with what helps.

use app_db::{EmbeddedMigration, MigrateError};
use harness::{Cluster, ClusterOptions, TestDatabase};

use super::{failed, migrator, table};

/// The message of a failure, which is one sentence of the migrator.
fn message(error: &MigrateError) -> String {
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[tokio::test]
async fn a_role_that_may_not_create_is_told_of_the_grant() {
    let database = TestDatabase::empty().await.unwrap();
    let role = database.add_role().await.unwrap();
    let revoke = format!(
        "REVOKE {}, migrated FROM {}",
        database.role().name(),
        role.name()
    );
    database.sql(&revoke).await.unwrap();
    let error = migrator(&database.url_as(&role), &[table(1)])
        .run()
        .await
        .unwrap_err();
    let text = message(&error);
    assert!(text.contains("GRANT CREATE ON SCHEMA"), "{text}");
}

#[tokio::test]
async fn a_read_only_server_points_to_the_primary() {
    let database = TestDatabase::empty().await.unwrap();
    let role = database.role().name();
    let sql = format!("ALTER ROLE {role} SET default_transaction_read_only = on");
    database.sql(&sql).await.unwrap();
    let error = migrator(&database.url(), &[table(1)])
        .run()
        .await
        .unwrap_err();
    let text = message(&error);
    assert!(
        text.contains("DATABASE_URL_DIRECT to the primary"),
        "{text}"
    );
}

#[tokio::test]
async fn a_search_path_without_a_schema_is_named() {
    let database = TestDatabase::empty().await.unwrap();
    let role = database.role().name();
    database
        .sql(&format!("ALTER ROLE {role} SET search_path = ''"))
        .await
        .unwrap();
    let error = migrator(&database.url(), &[table(1)])
        .run()
        .await
        .unwrap_err();
    let text = message(&error);
    assert!(
        text.contains("SET search_path to one that exists"),
        "{text}"
    );
}

/// The server's own word for it, which no test can bring about without filling a disk.
#[tokio::test]
async fn a_full_disk_says_to_make_room() {
    let database = TestDatabase::empty().await.unwrap();
    let full =
        "do $$ begin raise exception 'could not extend file' using errcode = '53100'; end $$";
    let error = migrator(&database.url(), &[EmbeddedMigration::new("1_a", full)])
        .run()
        .await
        .unwrap_err();
    let text = message(&error);
    assert!(text.contains("make room there, then run again"), "{text}");
    assert_eq!(failed(error).sqlstate.unwrap().code(), "53100");
}

#[tokio::test]
async fn an_encoding_that_lacks_a_character_says_which_one_has_it() {
    let database = TestDatabase::empty().await.unwrap();
    let name = format!("{}_latin", database.name());
    let role = database.role().name();
    database
        .server()
        .sql(&format!("CREATE DATABASE {name} OWNER {role} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"))
        .await
        .unwrap();
    let port = database.server().port();
    let url = database.url().replace(
        &format!(":{port}/{}", database.name()),
        &format!(":{port}/{name}"),
    );
    let migration = EmbeddedMigration::new("1_a", "create table t1(a text default '→')");
    let error = migrator(&url, &[migration]).run().await;
    database
        .server()
        .sql(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await
        .unwrap();
    let text = message(&error.unwrap_err());
    assert!(text.contains("ENCODING 'UTF8'"), "{text}");
}

/// Codes are read and not words, so that a server may speak any language.
#[tokio::test]
async fn a_server_in_german_is_waited_for_and_advised_alike() {
    let options = ClusterOptions::default().language("de_DE");
    let cluster = Cluster::start(options).await.unwrap();
    let database = TestDatabase::empty_on(&cluster).await.unwrap();
    migrator(&database.url(), &[table(1)]).run().await.unwrap();
    let holder = database.connect().await.unwrap();
    holder
        .batch_execute("BEGIN; LOCK TABLE t1 IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let alter = EmbeddedMigration::new("2_a", "alter table t1 add a int");
    let waiting =
        migrator(&database.url(), &[alter]).lock_timeout(std::time::Duration::from_millis(100));
    let releasing = async {
        harness::wait_until("it waits", crate::SOON, async || {
            let sql =
                "SELECT count(*) FROM pg_locks WHERE relation = 't1'::regclass AND NOT granted";
            database.scalar::<i64>(sql).await.unwrap() == 1
        })
        .await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (applied, ()) = tokio::join!(waiting.run(), releasing);
    assert_eq!(applied.unwrap().len(), 1);

    let index = EmbeddedMigration::new("3_a", "create index concurrently on t1(a)");
    let error = migrator(&database.url(), &[index]).run().await.unwrap_err();
    assert!(
        message(&error).contains("run_in_transaction = false"),
        "{error}"
    );
}
