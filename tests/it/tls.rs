//! Encryption as the URL asks for it, and the checks of the certificate.

mod as_libpq_over_tls;

use app_db::{Pool, PoolError};
use db_pool::ConnectFailure;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;
use harness::{Authority, Cluster, ClusterOptions, TestDatabase};

use crate::pool::{sized, url};

struct Encrypted {
    _cluster: Cluster,
    db: TestDatabase,
    root: String,
    other_root: String,
    _other: tempfile::NamedTempFile,
}

async fn encrypted(authority: &Authority, certificate: &harness::Certificate) -> Encrypted {
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), Authority::new().unwrap().pem()).unwrap();
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), authority.pem()).unwrap();
    let options = ClusterOptions::default()
        .tls(certificate.clone())
        .hba("hostnossl all app_plain all reject");
    let cluster = Cluster::start(options).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let root = cluster.root_cert().display().to_string();
    Encrypted {
        other_root: other.path().display().to_string(),
        _cluster: cluster,
        db,
        root,
        _other: other,
    }
}

impl Encrypted {
    async fn connect(&self, parameters: &str) -> Result<Pool, PoolError> {
        let base = self.db.url();
        let separator = if base.contains('?') { '&' } else { '?' };
        let parameters = parameters
            .replace("ROOT", &self.root)
            .replace("OTHER", &self.other_root);
        Pool::connect(url(&format!("{base}{separator}{parameters}")), sized(1)).await
    }

    async fn is_encrypted(&self, parameters: &str) -> bool {
        is_encrypted(&self.connect(parameters).await.unwrap()).await
    }

    async fn refusal(&self, parameters: &str) -> String {
        refusal(&self.connect(parameters).await.unwrap_err())
    }
}

async fn is_encrypted(pool: &Pool) -> bool {
    let mut conn = pool.get().await.unwrap();
    diesel::dsl::sql::<Bool>("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        .get_result(&mut conn)
        .await
        .unwrap()
}

/// The text of an error that has to be about TLS.
fn refusal(error: &PoolError) -> String {
    let error = error.connect_error().unwrap();
    assert_eq!(error.failure(), ConnectFailure::Tls, "{error}");
    error.to_string()
}

/// req 2.16, req 4.48; case R48: each mode verifies what libpq's documentation says it does.
#[tokio::test]
async fn each_mode_verifies_what_it_says_over_tls() {
    let authority = Authority::new().unwrap();
    let server = encrypted(&authority, &authority.server().unwrap()).await;
    assert!(!server.is_encrypted("sslmode=disable").await);
    for mode in [
        "prefer",
        "require",
        "verify-ca&sslrootcert=ROOT",
        "verify-full&sslrootcert=ROOT",
    ] {
        assert!(
            server.is_encrypted(&format!("sslmode={mode}")).await,
            "{mode}"
        );
    }
    // SCRAM-SHA-256-PLUS: the login is bound to this very TLS channel.
    assert!(
        server
            .is_encrypted("sslmode=verify-full&sslrootcert=ROOT&channel_binding=require")
            .await
    );
    for mode in ["require", "verify-ca", "verify-full"] {
        let refusal = server
            .refusal(&format!("sslmode={mode}&sslrootcert=OTHER"))
            .await;
        assert!(refusal.contains("UnknownIssuer"), "{mode}: {refusal}");
    }
    let missing = server
        .refusal("sslmode=verify-full&sslrootcert=/no/such/file")
        .await;
    assert!(missing.contains("/no/such/file"), "{missing}");
}

/// case R48: only verify-full refuses a certificate for another name.
#[tokio::test]
async fn a_wrong_name_is_refused_over_tls_by_verify_full() {
    let authority = Authority::new().unwrap();
    let server = encrypted(
        &authority,
        &authority.server_named(&["wrong.example"]).unwrap(),
    )
    .await;
    assert!(
        server
            .is_encrypted("sslmode=verify-ca&sslrootcert=ROOT")
            .await
    );
    let refusal = server.refusal("sslmode=verify-full&sslrootcert=ROOT").await;
    assert!(refusal.contains("not valid for name"), "{refusal}");
}

/// case R48: an expired certificate is refused wherever certificates are looked at.
#[tokio::test]
async fn an_expired_certificate_is_refused_over_tls() {
    let authority = Authority::new().unwrap();
    let server = encrypted(&authority, &authority.expired_server().unwrap()).await;
    for mode in ["verify-ca", "verify-full"] {
        let refusal = server
            .refusal(&format!("sslmode={mode}&sslrootcert=ROOT"))
            .await;
        assert!(refusal.contains("expired"), "{mode}: {refusal}");
    }
}

/// case R47: a server without TLS is refused if TLS is required, and accepted if it is preferred.
#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_plain_text() {
    let db = TestDatabase::empty().await.unwrap();
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let required = format!("{}{separator}sslmode=require", db.url());
    let error = Pool::connect(url(&required), sized(1)).await.unwrap_err();
    let error = error.connect_error().unwrap();
    assert_eq!(error.failure(), ConnectFailure::Tls);
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    let preferred = format!("{}{separator}sslmode=prefer", db.url());
    Pool::connect(url(&preferred), sized(1)).await.unwrap();
}

/// A statement is cancelled over TLS as well.
#[tokio::test]
async fn cancelling_works_over_tls() {
    let authority = Authority::new().unwrap();
    let server = encrypted(&authority, &authority.server().unwrap()).await;
    let pool = server
        .connect("sslmode=verify-full&sslrootcert=ROOT")
        .await
        .unwrap();
    let mut conn = pool.get().await.unwrap();
    let sleeping = diesel::sql_query("select pg_sleep(60)").execute(&mut conn);
    tokio::time::timeout(std::time::Duration::from_millis(100), sleeping)
        .await
        .unwrap_err();
    drop(conn);
    let mut next = pool.get().await.unwrap();
    let running: Vec<String> = diesel::dsl::sql::<Text>(
        "select query from pg_stat_activity where state = 'active' and query like '%pg_sleep(60)%' and pid <> pg_backend_pid()",
    )
    .load(&mut next)
    .await
    .unwrap();
    assert!(running.is_empty(), "{running:?}");
}
