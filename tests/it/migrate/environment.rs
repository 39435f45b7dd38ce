//! Servers and roles that do not let a migration through, each with what helps.

use app_db::{EmbeddedMigration, MigrateError};
use harness::{Cluster, ClusterOptions, Server, TestDatabase};

use super::{failed, migrator, table};

/// The message of a failure, which is one sentence of the migrator.
fn message(error: &MigrateError) -> String {
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// What a run that cannot succeed says on a server of any language.
async fn what_helps_is_said(server: &Server) {
    for (what, message, helps) in [
        (
            "a role without CREATE",
            without_create(server).await,
            "GRANT CREATE ON SCHEMA",
        ),
        (
            "a role that may not write",
            read_only_role(server).await,
            "default_transaction_read_only to off",
        ),
        (
            "an empty search_path",
            search_path(server, "''").await,
            "SET search_path to one that exists",
        ),
        (
            "a full disk",
            full_disk(server).await,
            "make room there, then run again",
        ),
        (
            "an older schema",
            forbidden_schema(server).await,
            "GRANT the right",
        ),
    ] {
        assert!(message.contains(helps), "{what}: {message}");
    }
}

async fn without_create(server: &Server) -> String {
    let database = TestDatabase::empty_on(server).await.unwrap();
    let role = database.add_role().await.unwrap();
    let revoke = format!(
        "REVOKE {}, migrated FROM {}",
        database.role().name(),
        role.name()
    );
    database.sql(&revoke).await.unwrap();
    refusal(&database.url_as(&role), table(1)).await
}

async fn read_only_role(server: &Server) -> String {
    let database = TestDatabase::empty_on(server).await.unwrap();
    let role = database.role().name();
    let sql = format!("ALTER ROLE {role} SET default_transaction_read_only = on");
    database.sql(&sql).await.unwrap();
    refusal(&database.url(), table(1)).await
}

async fn search_path(server: &Server, path: &str) -> String {
    let database = TestDatabase::empty_on(server).await.unwrap();
    let role = database.role().name();
    database
        .sql(&format!("ALTER ROLE {role} SET search_path = {path}"))
        .await
        .unwrap();
    refusal(&database.url(), table(1)).await
}

/// The server's own error when the operating system has no space left, as `/dev/full` has none.
async fn full_disk(server: &Server) -> String {
    let database = TestDatabase::empty_on(server).await.unwrap();
    let grant = format!("GRANT pg_write_server_files TO {}", database.role().name());
    database.sql(&grant).await.unwrap();
    let full = "copy (select generate_series(1, 100000)) to '/dev/full'";
    let migration = EmbeddedMigration::new("1_a", full);
    let error = migrator(&database.url(), &[migration])
        .run()
        .await
        .unwrap_err();
    let text = message(&error);
    assert_eq!(failed(error).sqlstate.unwrap().code(), "53100");
    text
}

/// A migration that reaches into a schema of somebody else's.
async fn forbidden_schema(server: &Server) -> String {
    let database = TestDatabase::empty_on(server).await.unwrap();
    database.sql("CREATE SCHEMA theirs").await.unwrap();
    let migration = EmbeddedMigration::new("1_a", "create table theirs.t1()");
    refusal(&database.url(), migration).await
}

async fn refusal(url: &str, migration: EmbeddedMigration) -> String {
    message(&migrator(url, &[migration]).run().await.unwrap_err())
}

#[tokio::test]
async fn each_refusal_says_what_helps() {
    let any = TestDatabase::empty().await.unwrap();
    what_helps_is_said(any.server()).await;
}

/// Codes are read and not words, so that a server may speak any language.
#[tokio::test]
async fn each_refusal_says_what_helps_in_german() {
    let options = ClusterOptions::default().language("de_DE");
    let cluster = Cluster::start(options).await.unwrap();
    what_helps_is_said(&cluster).await;
}

#[tokio::test]
async fn a_standby_points_to_the_primary() {
    let primary = Cluster::start(ClusterOptions::default()).await.unwrap();
    let database = TestDatabase::empty_on(&primary).await.unwrap();
    let standby = primary.replica("standby").await.unwrap();
    let here = |url: String| {
        url.replace(
            &format!(":{}/", primary.port()),
            &format!(":{}/", standby.port()),
        )
    };
    let text = refusal(&here(database.url()), table(1)).await;
    assert!(
        text.contains("DATABASE_URL_DIRECT to the primary"),
        "{text}"
    );
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
