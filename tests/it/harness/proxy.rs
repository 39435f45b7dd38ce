//! The proxy's faults.

use std::time::{Duration, Instant};

use harness::{Fault, Proxy, TestDatabase, wait_until};
use tokio_postgres::{Client, NoTls};

#[tokio::test]
async fn data_pass_are_delayed_and_are_held() {
    let (database, proxy) = start().await;
    let client = connect(&database, &proxy).await.unwrap();
    assert_eq!(proxy.connections(), 1);

    proxy.set(Fault::Delay(Duration::from_millis(50))).await;
    let start = Instant::now();
    client.simple_query("SELECT 1").await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );

    for fault in [Fault::Stall, Fault::HoldReplies] {
        proxy.set(fault).await;
        let mut waiting = Box::pin(client.simple_query("SELECT 1"));
        assert!(
            tokio::time::timeout(Duration::from_millis(200), &mut waiting)
                .await
                .is_err()
        );
        proxy.set(Fault::None).await;
        waiting.await.unwrap();
    }
}

#[tokio::test]
async fn connections_are_cut_reset_and_refused() {
    let (database, proxy) = start().await;
    for end in [Proxy::cut, Proxy::reset] {
        let client = connect(&database, &proxy).await.unwrap();
        end(&proxy);
        wait_until(
            "the client has noticed",
            Duration::from_secs(5),
            async || client.is_closed(),
        )
        .await;
    }
    let client = connect(&database, &proxy).await.unwrap();
    proxy.set(Fault::Refuse).await;
    let refused = connect(&database, &proxy).await.unwrap_err();
    assert!(
        format!("{refused:?}").contains("ConnectionRefused"),
        "{refused:?}"
    );
    client.simple_query("SELECT 1").await.unwrap();
    proxy.set(Fault::None).await;
    connect(&database, &proxy).await.unwrap();
}

#[tokio::test]
async fn a_commit_is_lost_before_or_after_it_happens() {
    let (database, proxy) = start().await;
    database
        .connect()
        .await
        .unwrap()
        .batch_execute("CREATE TABLE paid (n int)")
        .await
        .unwrap();
    for (fault, happened) in [
        (Fault::LoseRequest(b"COMMIT"), 0),
        (Fault::LoseReply(b"COMMIT"), 1),
    ] {
        let client = connect(&database, &proxy).await.unwrap();
        proxy.set(fault).await;
        client
            .batch_execute("BEGIN; INSERT INTO paid VALUES (1)")
            .await
            .unwrap();
        assert!(client.batch_execute("COMMIT").await.is_err());
        proxy.set(Fault::None).await;
        assert_eq!(
            database
                .scalar::<i64>("SELECT count(*) FROM paid")
                .await
                .unwrap(),
            happened
        );
    }
}

async fn start() -> (TestDatabase, Proxy) {
    let database = TestDatabase::create().await.unwrap();
    let proxy = Proxy::start(database.server().port()).await.unwrap();
    (database, proxy)
}

async fn connect(database: &TestDatabase, proxy: &Proxy) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&database.proxied_url(proxy), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
