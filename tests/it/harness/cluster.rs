//! Clusters: stopping, freezing, standbys, TLS.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Authority, Cluster, ClusterOptions, HarnessError, Stop, wait_until};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

#[tokio::test]
async fn a_cluster_keeps_its_data_and_port_over_every_kind_of_stop() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    cluster.sql("CREATE TABLE kept (n int)").await.unwrap();
    let port = cluster.port();
    for (how, rows) in [(Stop::Fast, 1), (Stop::Immediate, 2), (Stop::Kill, 3)] {
        cluster.sql("INSERT INTO kept VALUES (1)").await.unwrap();
        cluster.stop(how).await.unwrap();
        assert!(
            cluster.admin().await.is_err(),
            "{how:?} left a server that answers"
        );
        cluster.start_again().await.unwrap();
        assert_eq!(
            cluster
                .scalar::<i64>("SELECT count(*) FROM kept")
                .await
                .unwrap(),
            rows
        );
    }
    assert_eq!(cluster.port(), port);
    assert!(cluster.log_contains("database system was not properly shut down"));
}

#[tokio::test]
async fn a_cluster_is_gone_when_it_is_dropped() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let (server, folder) = (cluster.server().clone(), cluster.folder().to_owned());
    assert!(folder.exists());
    drop(cluster);
    assert!(server.admin().await.is_err());
    assert!(!folder.exists());
}

#[tokio::test]
async fn options_reach_the_server_and_a_bad_one_is_told_from_its_log() {
    let cluster = Cluster::start(ClusterOptions::default().max_connections(7))
        .await
        .unwrap();
    assert_eq!(
        cluster
            .scalar::<String>("SHOW max_connections")
            .await
            .unwrap(),
        "7"
    );
    cluster
        .set("log_min_duration_statement", "123")
        .await
        .unwrap();
    wait_until(
        "the setting has changed",
        Duration::from_secs(5),
        async || {
            cluster
                .scalar::<String>("SHOW log_min_duration_statement")
                .await
                .unwrap()
                == "123ms"
        },
    )
    .await;

    let bad = Cluster::start(ClusterOptions::default().setting("no_such_setting", "1")).await;
    let Err(HarnessError::Start { log, .. }) = bad else {
        panic!("{bad:?}")
    };
    assert!(log.contains("no_such_setting"), "{log}");
}

#[tokio::test]
async fn a_frozen_cluster_goes_on_when_thawed() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let session = cluster.admin().await.unwrap();
    let frozen = cluster.freeze().unwrap();
    let waiting = session.simple_query("SELECT 1");
    tokio::pin!(waiting);
    let start = Instant::now();
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut waiting)
            .await
            .is_err()
    );
    frozen.thaw();
    waiting.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_killed_backend_ends_every_session_and_the_server_recovers() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let session = cluster.admin().await.unwrap();
    let pid: i32 = session
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let other = cluster.admin().await.unwrap();
    cluster.kill_backend(pid).unwrap();
    wait_until(
        "the server answers again",
        Duration::from_secs(10),
        async || cluster.scalar::<i32>("SELECT 1").await.is_ok() && other.is_closed(),
    )
    .await;
}

#[tokio::test]
async fn a_replica_streams_refuses_writes_and_can_be_promoted() {
    let primary = Cluster::start(ClusterOptions::default()).await.unwrap();
    primary
        .sql("CREATE TABLE streamed (n int); INSERT INTO streamed VALUES (1)")
        .await
        .unwrap();
    let standby = primary.replica("replica1").await.unwrap();
    primary
        .sql("INSERT INTO streamed VALUES (2)")
        .await
        .unwrap();
    standby.caught_up_with(&primary).await.unwrap();

    assert_eq!(
        standby
            .scalar::<i64>("SELECT count(*) FROM streamed")
            .await
            .unwrap(),
        2
    );
    let names = "SELECT application_name FROM pg_stat_replication";
    assert_eq!(primary.scalar::<String>(names).await.unwrap(), "replica1");
    let Err(HarnessError::Query(refused)) = standby.sql("INSERT INTO streamed VALUES (3)").await
    else {
        panic!("a standby took a write")
    };
    assert_eq!(refused.code().unwrap().code(), "25006");

    primary.stop(Stop::Immediate).await.unwrap();
    assert!(standby.in_recovery().await.unwrap());
    standby.promote().await.unwrap();
    standby
        .sql("INSERT INTO streamed VALUES (3)")
        .await
        .unwrap();
}

#[tokio::test]
async fn over_tls_the_authority_and_the_name_are_trusted_alone() {
    let authority = Authority::new().unwrap();
    let options = ClusterOptions::default().tls(authority.server().unwrap());
    let cluster = Cluster::start(options.hba("hostnossl all plain 127.0.0.1/32 reject"))
        .await
        .unwrap();
    cluster
        .sql("CREATE ROLE plain LOGIN PASSWORD 'x'")
        .await
        .unwrap();
    let trusted = std::fs::read_to_string(cluster.root_cert()).unwrap();
    assert_eq!(trusted, authority.pem());

    assert_eq!(over_tls(&cluster, &trusted).await.unwrap(), "t");
    let other = Authority::new().unwrap();
    assert!(
        over_tls(&cluster, &other.pem())
            .await
            .unwrap_err()
            .contains("UnknownIssuer")
    );
    assert!(
        cluster.admin().await.is_ok(),
        "the harness itself needs no TLS"
    );

    cluster
        .use_certificate(&authority.server_named(&["wrong.example"]).unwrap())
        .await
        .unwrap();
    wait_for_refusal(&cluster, &trusted, "NotValidForName").await;
    cluster
        .use_certificate(&authority.expired_server().unwrap())
        .await
        .unwrap();
    wait_for_refusal(&cluster, &trusted, "Expired").await;
}

async fn wait_for_refusal(cluster: &Cluster, trusted: &str, why: &str) {
    wait_until(
        &format!("TLS fails with `{why}`"),
        Duration::from_secs(5),
        async || {
            over_tls(cluster, trusted)
                .await
                .is_err_and(|error| error.contains(why))
        },
    )
    .await;
}

/// Whether the server says that a session uses TLS, or the whole chain of errors.
async fn over_tls(cluster: &Cluster, trusted: &str) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let mut target: tokio_postgres::Config = cluster.url("postgres").parse().unwrap();
    let connected = target
        .ssl_mode(SslMode::Require)
        .connect(MakeRustlsConnect::new(config))
        .await;
    let (client, connection) = connected.map_err(|error| format!("{error:?}"))?;
    tokio::spawn(connection);
    let query = "SELECT ssl::text::char FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let answer = client
        .simple_query(query)
        .await
        .map_err(|error| format!("{error:?}"))?;
    match &answer[1] {
        tokio_postgres::SimpleQueryMessage::Row(row) => Ok(row.get(0).unwrap().to_owned()),
        other => panic!("{other:?}"),
    }
}
