//! The process chooses the TLS provider, and there is always exactly one. Each case runs in a process of its own,
//! because a process chooses only once.

use std::process::Command;

use app_db::Pool;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use harness::{Authority, Cluster, ClusterOptions, TestDatabase};
use rustls::crypto::{CryptoProvider, ring};

use crate::pool::{sized, url};

const CHILD: &str = "DB_TESTS_PROVIDER";

/// The URL that the process is to connect to, if this is it.
fn address() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Runs one of these tests again, as such a process.
fn run_alone(name: &str, address: &str) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("provider::{name}"), "--nocapture"])
        .env(CHILD, address)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

/// A service that has chosen is not overruled.
#[tokio::test]
async fn the_provider_of_the_process_is_used_over_tls() {
    if let Some(address) = address() {
        let mut chosen = ring::default_provider();
        let only = "TLS13_CHACHA20_POLY1305_SHA256";
        chosen
            .cipher_suites
            .retain(|suite| format!("{:?}", suite.suite()) == only);
        chosen.install_default().unwrap();
        let pool = Pool::connect(url(&address), sized(1)).await.unwrap();
        let cipher = "select cipher from pg_stat_ssl where pid = pg_backend_pid()";
        let cipher: String = diesel::dsl::sql::<Text>(cipher)
            .get_result(&mut pool.get().await.unwrap())
            .await
            .unwrap();
        assert_eq!(cipher, "TLS_CHACHA20_POLY1305_SHA256");
        return;
    }
    let certificate = Authority::new().unwrap().server().unwrap();
    let cluster = Cluster::start(ClusterOptions::default().tls(certificate))
        .await
        .unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let required = format!("{}?sslmode=require", db.url());
    run_alone("the_provider_of_the_process_is_used_over_tls", &required);
}

/// A service has a second provider from another crate. A client that is built with rustls' default finds one choice
/// and not two, even if the pool itself needs no TLS.
#[tokio::test]
async fn a_process_with_an_open_pool_has_one_provider() {
    if let Some(address) = address() {
        assert!(CryptoProvider::get_default().is_none());
        let _pool = Pool::connect(url(&address), sized(1)).await.unwrap();
        assert!(CryptoProvider::get_default().is_some());
        return;
    }
    let db = TestDatabase::empty().await.unwrap();
    run_alone("a_process_with_an_open_pool_has_one_provider", &db.url());
}
