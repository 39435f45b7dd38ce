//! The recipes of docs/rotation.md, as they stand there, against real servers.

use std::time::Duration;

use app_db::Database;
use harness::{Bouncer, BouncerOptions, Cluster, ClusterOptions, PoolMode, wait_until};

use super::{Secrets, json, open, reaches_generation, sourced_at, user};
use crate::SOON;

/// The blocks of a language below a heading.
pub(super) fn blocks(heading: &str, language: &str) -> Vec<String> {
    let page = include_str!("../../../docs/rotation.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let opening = format!("```{language}\n");
    let mut blocks = section.split(&opening);
    blocks.next();
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

async fn run(cluster: &Cluster, sql: &str) {
    cluster.sql(sql).await.unwrap();
}

/// Work goes on until a rotation is through, and none of it fails.
async fn works_until_generation(database: &Database, wanted: u64) {
    let working = async {
        loop {
            database.write(user).await.unwrap();
        }
    };
    tokio::select! {
        () = working => {}
        () = reaches_generation(database, wanted) => {}
    }
}

/// case R40
#[tokio::test]
async fn one_user() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let [once, each] = &blocks("One user", "sql")[..] else {
        panic!("another number of blocks");
    };
    run(&cluster, once).await;
    let secrets = Secrets::new();
    let path = secrets.put("password", "first");
    let url = harness::url(cluster.port(), "postgres", "app", "nobody");
    let database = open(&sourced_at(&url, "file", &path, &[])).await;
    secrets.put("password", "second");
    run(&cluster, each).await;
    works_until_generation(&database, 2).await;
    database.shutdown(Duration::ZERO).await;
}

/// case R41; req 4.44
#[tokio::test]
async fn two_users() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let [once, prepare, lock] = &blocks("Two users", "sql")[..] else {
        panic!("another number of blocks");
    };
    run(&cluster, once).await;
    let secrets = Secrets::new();
    let path = secrets.put_json("secret", "app_a", "first");
    let url = harness::url(cluster.port(), "postgres", "app_a", "nobody");
    let database = open(&sourced_at(&url, "file", &path, &[])).await;
    assert_eq!(database.read(user).await.unwrap(), "app_a");
    run(&cluster, prepare).await;
    secrets.put_json("secret", "app_b", "second");
    works_until_generation(&database, 2).await;
    wait_until("the former user has left", SOON, async || {
        let left = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_a'";
        cluster.scalar::<i64>(left).await.unwrap() == 0
    })
    .await;
    run(&cluster, lock).await;
    assert_eq!(database.read(user).await.unwrap(), "app_b");
    let owner: String = cluster
        .scalar("SELECT setconfig::text FROM pg_db_role_setting WHERE setrole = 'app_b'::regrole")
        .await
        .unwrap();
    assert!(owner.contains("role=app_owner"), "{owner}");
    database.shutdown(Duration::ZERO).await;
}

/// case R40: PgBouncer asks the server for passwords.
#[tokio::test]
async fn a_pooler_with_auth_query() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let [lookup] = &blocks("PgBouncer with auth_query", "sql")[..] else {
        panic!("another number of blocks");
    };
    let [ini] = &blocks("PgBouncer with auth_query", "ini")[..] else {
        panic!("another number of blocks");
    };
    run(&cluster, lookup).await;
    run(&cluster, "CREATE ROLE app LOGIN PASSWORD 'first'").await;
    let mut options = BouncerOptions::mode(PoolMode::Transaction).user("pooler", "pooler");
    for line in ini.lines() {
        let (name, value) = line.split_once(" = ").unwrap();
        options = options.setting(name, value);
    }
    let bouncer = Bouncer::start(cluster.server(), options).await.unwrap();
    let secrets = Secrets::new();
    let path = secrets.put("password", "first");
    let url = harness::url(bouncer.port(), "postgres", "app", "nobody");
    let database = open(&sourced_at(&url, "file", &path, &[])).await;
    run(&cluster, "ALTER ROLE app PASSWORD 'second'").await;
    secrets.put("password", "second");
    works_until_generation(&database, 2).await;
    assert_eq!(database.read(user).await.unwrap(), "app");
    database.shutdown(Duration::ZERO).await;
}

/// case R40: PgBouncer has the passwords in a file, and the order matters.
#[tokio::test]
async fn a_pooler_with_a_userlist() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    run(&cluster, "CREATE ROLE app LOGIN PASSWORD 'first'").await;
    let secret = async || {
        let secret = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
        cluster.scalar::<String>(secret).await.unwrap()
    };
    let options = BouncerOptions::mode(PoolMode::Transaction)
        .without_auth_query()
        .user("app", &secret().await);
    let bouncer = Bouncer::start(cluster.server(), options).await.unwrap();
    let secrets = Secrets::new();
    let path = secrets.put("secret", &json("app", "first"));
    let url = harness::url(bouncer.port(), "postgres", "app", "nobody");
    let database = open(&sourced_at(&url, "file", &path, &[])).await;
    let rotating = async {
        run(&cluster, "ALTER ROLE app PASSWORD 'second'").await;
        bouncer.set_user("app", &secret().await).unwrap();
        bouncer.command("RELOAD").await.unwrap();
        bouncer.command("RECONNECT").await.unwrap();
        secrets.put("secret", &json("app", "second"));
    };
    tokio::join!(rotating, works_until_generation(&database, 2));
    assert_eq!(database.read(user).await.unwrap(), "app");
    database.shutdown(Duration::ZERO).await;
}
