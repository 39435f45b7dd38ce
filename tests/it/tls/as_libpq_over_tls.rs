//! Certificates and keys that OpenSSL accepts and rustls by itself does not. They are accepted as libpq accepts them,
//! or refused with advice.

use app_db::{Pool, PoolError};
use harness::{Authority, Certificate, Cluster, ClusterOptions, TestDatabase};

use super::{is_encrypted, refusal};
use crate::pool::{sized, url};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/it/tls");

/// Made by `openssl x509 -req` without an extension: X.509 version 1.
const VERSION_1: (&str, &str) = (include_str!("version1.crt"), include_str!("version1.key"));

/// Made by the line in PostgreSQL's documentation, "Creating Certificates": an authority's (CA:TRUE), without
/// alternative names.
const DOCUMENTED: (&str, &str) = (
    include_str!("documented.crt"),
    include_str!("documented.key"),
);

/// On a curve that ring does not have.
const P521: (&str, &str) = (include_str!("p521.crt"), include_str!("p521.key"));

struct Server {
    _cluster: Cluster,
    db: TestDatabase,
    root: tempfile::NamedTempFile,
}

async fn server((cert, key): (&str, &str)) -> Server {
    let options = ClusterOptions::default()
        .tls(Certificate::made_elsewhere(cert, key))
        .hba("hostnossl all app_plain all reject");
    let cluster = Cluster::start(options).await.unwrap();
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), cert).unwrap();
    Server {
        db: TestDatabase::empty_on(&cluster).await.unwrap(),
        _cluster: cluster,
        root,
    }
}

impl Server {
    fn url(&self, parameters: &str) -> String {
        let base = self.db.url().replace("127.0.0.1", "localhost");
        let separator = if base.contains('?') { '&' } else { '?' };
        let root = self.root.path().display().to_string();
        format!("{base}{separator}{}", parameters.replace("ROOT", &root))
    }

    async fn connect(&self, parameters: &str) -> Result<Pool, PoolError> {
        Pool::connect(url(&self.url(parameters)), sized(1)).await
    }

    /// Every mode that encrypts, with the server's own certificate as the root.
    async fn is_taken_in_every_mode(&self) {
        for parameters in [
            "sslmode=prefer",
            "sslmode=require",
            "sslmode=verify-ca&sslrootcert=ROOT",
            "sslmode=verify-full&sslrootcert=ROOT",
        ] {
            let pool = self.connect(parameters).await.unwrap();
            assert!(is_encrypted(&pool).await, "{parameters}");
        }
    }

    async fn refusal(&self, parameters: &str) -> String {
        refusal(&self.connect(parameters).await.unwrap_err())
    }
}

/// launchbadge/sqlx#2886: modes that verify nothing accept it like any other, and it is trusted if it is itself
/// named as a root.
#[tokio::test]
async fn a_certificate_of_version_1_is_taken() {
    let server = server(VERSION_1).await;
    server.is_taken_in_every_mode().await;
}

/// jbg/tokio-postgres-rustls#23: the certificate of the documentation as its own root, and by its common name.
#[tokio::test]
async fn the_certificate_of_postgresqls_documentation_is_its_own_root() {
    let server = server(DOCUMENTED).await;
    server.is_taken_in_every_mode().await;
    let by_address = server
        .url("sslmode=verify-full&sslrootcert=ROOT")
        .replace("@localhost", "@127.0.0.1");
    let error = Pool::connect(url(&by_address), sized(1)).await.unwrap_err();
    let refusal = error.connect_error().unwrap().to_string();
    assert!(refusal.contains("not valid for name"), "{refusal}");
}

/// A certificate that OpenSSL would verify and rustls does not is refused with advice.
#[tokio::test]
async fn a_certificate_that_cannot_be_verified_is_refused_in_words() {
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), Authority::new().unwrap().pem()).unwrap();
    let other = format!("sslmode=verify-ca&sslrootcert={}", other.path().display());
    let version_1 = server(VERSION_1).await.refusal(&other).await;
    assert!(version_1.contains("X.509 version 1"), "{version_1}");
    let authority = server(DOCUMENTED).await.refusal(&other).await;
    assert!(authority.contains("CA:TRUE"), "{authority}");
}

/// A key on a curve that ring lacks: the server cannot sign the handshake in a way that we understand.
#[tokio::test]
async fn a_key_of_an_unknown_kind_is_refused_in_words() {
    let refusal = server(P521).await.refusal("sslmode=require").await;
    assert!(refusal.contains("P-521"), "{refusal}");
}

/// A client key that needs a passphrase, and files of another kind: the error comes before anything is sent.
#[tokio::test]
async fn a_client_key_that_cannot_be_used_is_refused_in_words() {
    let server = server(DOCUMENTED).await;
    for (key, words) in [
        ("encrypted.key", "openssl pkey"),
        ("version1.crt", "holds no private key"),
        ("nosuch.key", "nosuch.key"),
    ] {
        let parameters =
            format!("sslmode=require&sslcert={FOLDER}/version1.crt&sslkey={FOLDER}/{key}");
        let refusal = server.refusal(&parameters).await;
        assert!(refusal.contains(words), "{refusal}");
    }
}

/// An authority that the service brings along is trusted in addition to the system's.
#[tokio::test]
async fn a_root_certificate_may_come_from_memory() {
    let server = server(DOCUMENTED).await;
    let refusal = server.refusal("sslmode=verify-full").await;
    assert!(!refusal.is_empty());
    let endpoint = app_db::Endpoint::from(url(&server.url("sslmode=verify-full")));
    let pool = Pool::connect(endpoint.clone().trusting(DOCUMENTED.0), sized(1)).await;
    drop(pool.unwrap().get().await.unwrap());
    let broken = Pool::connect(
        endpoint.trusting("-----BEGIN CERTIFICATE-----\n!\n"),
        sized(1),
    )
    .await;
    let error = broken.unwrap_err();
    let refusal = error.connect_error().unwrap().to_string();
    assert!(refusal.contains("from memory"), "{refusal}");
}
