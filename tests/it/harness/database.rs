//! A database and a role per test.

use std::time::Duration;

use harness::{Cluster, TestDatabase, wait_until};

#[tokio::test]
async fn each_test_has_a_database_of_its_own_and_leaves_nothing() {
    let one = TestDatabase::create().await.unwrap();
    let other = TestDatabase::create().await.unwrap();
    let session = one.connect().await.unwrap();
    session
        .batch_execute("CREATE TABLE mine (n int)")
        .await
        .unwrap();
    assert!(
        other
            .connect()
            .await
            .unwrap()
            .batch_execute("SELECT * FROM mine")
            .await
            .is_err()
    );

    let (server, name) = (one.server().clone(), one.name().to_owned());
    drop(one);
    let left = format!(
        "SELECT (SELECT count(*) FROM pg_database WHERE datname = '{name}') \
            + (SELECT count(*) FROM pg_roles WHERE rolname = '{name}')"
    );
    assert_eq!(server.scalar::<i64>(&left).await.unwrap(), 0);
}

#[tokio::test]
async fn a_database_is_dropped_outside_of_a_runtime_too() {
    let database = TestDatabase::empty().await.unwrap();
    let (server, name) = (database.server().clone(), database.name().to_owned());
    std::thread::spawn(move || drop(database)).join().unwrap();
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(server.scalar::<i64>(&left).await.unwrap(), 0);
}

#[tokio::test]
async fn the_migrations_have_run_and_their_objects_belong_to_the_role() {
    let database = TestDatabase::create().await.unwrap();
    let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations")).unwrap();
    let expected = folders
        .filter(|entry| entry.as_ref().unwrap().path().join("up.sql").exists())
        .count();
    let session = database.connect().await.unwrap();
    let count = session
        .query_one("SELECT count(*) FROM __diesel_schema_migrations", &[])
        .await
        .unwrap();
    assert_eq!(usize::try_from(count.get::<_, i64>(0)).unwrap(), expected);
    session
        .batch_execute("ALTER TABLE __diesel_schema_migrations ADD COLUMN note text")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_role_can_be_rotated_and_doubled() {
    let database = TestDatabase::create().await.unwrap();
    let old = database.url();
    database.set_password("another").await.unwrap();
    assert!(database.url().contains(":another@") && database.url() != old);
    database.connect().await.unwrap();

    let second = database.add_role().await.unwrap();
    let session = database.connect().await.unwrap();
    session
        .batch_execute("CREATE TABLE first_made (n int)")
        .await
        .unwrap();
    let (client, connection) =
        tokio_postgres::connect(&database.url_as(&second), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("ALTER TABLE first_made ADD COLUMN m int")
        .await
        .unwrap();
}

#[tokio::test]
async fn backends_are_told_by_application_name() {
    let database = TestDatabase::create().await.unwrap();
    let mut config: tokio_postgres::Config = database.url().parse().unwrap();
    let (client, connection) = config
        .application_name("watched")
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN").await.unwrap();
    let backends = database.backends("watched").await.unwrap();
    assert_eq!(backends.len(), 1);
    assert_eq!(backends[0].state, "idle in transaction");
    assert_eq!(backends[0].user, database.role().name());
    drop(client);
    wait_until(
        "the session has ended",
        Duration::from_secs(5),
        async || database.backends("watched").await.unwrap().is_empty(),
    )
    .await;
}

#[tokio::test]
async fn leftovers_of_dead_processes_are_swept() {
    let server = Cluster::shared().await.unwrap().server();
    // The largest process id there can be on Linux is 2^22.
    let name = format!("t_{}_0000{:04x}", 1 << 23, std::process::id() & 0xffff);
    server.sql(&format!("CREATE ROLE {name}")).await.unwrap();
    server
        .sql(&format!("CREATE DATABASE {name} OWNER {name}"))
        .await
        .unwrap();
    let _database = TestDatabase::empty().await.unwrap();
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(server.scalar::<i64>(&left).await.unwrap(), 0);
}
