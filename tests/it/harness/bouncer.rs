//! PgBouncer in front of a test's database.

use harness::{Bouncer, BouncerBinary, BouncerOptions, PoolMode, TestDatabase};
use tokio_postgres::{Client, NoTls};

#[tokio::test]
async fn transaction_mode_shares_a_backend_and_session_mode_does_not() {
    let database = TestDatabase::create().await.unwrap();
    for (mode, shared) in [(PoolMode::Transaction, true), (PoolMode::Session, false)] {
        let bouncer = Bouncer::start(database.server(), BouncerOptions::mode(mode))
            .await
            .unwrap();
        let (one, other) = (
            connect(&database, &bouncer).await,
            connect(&database, &bouncer).await,
        );
        let same = backend(&one).await == backend(&other).await;
        assert_eq!(same, shared, "{mode:?}");
    }
}

#[tokio::test]
async fn a_new_password_works_at_once_and_the_old_one_does_not() {
    let database = TestDatabase::create().await.unwrap();
    let bouncer = Bouncer::start(database.server(), BouncerOptions::default())
        .await
        .unwrap();
    let old = database.pooled_url(&bouncer);
    connect(&database, &bouncer).await;
    database.set_password("another").await.unwrap();
    connect(&database, &bouncer).await;
    assert!(tokio_postgres::connect(&old, NoTls).await.is_err());
}

#[tokio::test]
async fn the_console_answers_and_the_bouncer_restarts() {
    let database = TestDatabase::create().await.unwrap();
    let options = BouncerOptions::default().pool_size(3);
    let bouncer = Bouncer::start(database.server(), options).await.unwrap();
    let client = connect(&database, &bouncer).await;
    backend(&client).await;
    let pools = bouncer.show("POOLS").await.unwrap();
    assert!(
        pools.iter().any(|pool| pool["database"] == database.name()),
        "{pools:?}"
    );
    bouncer.command("RECONNECT").await.unwrap();
    backend(&client).await;

    bouncer.stop().await.unwrap();
    assert!(client.simple_query("SELECT 1").await.is_err());
    bouncer.start_again().await.unwrap();
    backend(&connect(&database, &bouncer).await).await;
}

#[tokio::test]
async fn every_bouncer_on_the_machine_starts() {
    let database = TestDatabase::create().await.unwrap();
    let all = BouncerBinary::all();
    assert!(!all.is_empty());
    for binary in all {
        let options = BouncerOptions::default().binary(binary.clone());
        let bouncer = Bouncer::start(database.server(), options).await.unwrap();
        assert_eq!(bouncer.binary().version(), binary.version());
        backend(&connect(&database, &bouncer).await).await;
    }
}

async fn connect(database: &TestDatabase, bouncer: &Bouncer) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.pooled_url(bouncer), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

async fn backend(client: &Client) -> String {
    match &client
        .simple_query("SELECT pg_backend_pid()")
        .await
        .unwrap()[1]
    {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).unwrap().to_owned(),
        other => panic!("{other:?}"),
    }
}
