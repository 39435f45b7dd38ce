//! Certificates that are replaced on disk while the pools work.

use std::fs;

use app_db::Database;
use db_pool::CertificateProblem;
use harness::{Authority, Cluster, ClusterOptions, TestDatabase};

use super::{Secrets, log_in};
use crate::at_rest::watched;
use crate::transaction::config;

async fn encrypted(authority: &Authority, hba: &str) -> (Cluster, TestDatabase) {
    let options = ClusterOptions::default()
        .tls(authority.server().unwrap())
        .hba(hba);
    let cluster = Cluster::start(options).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    (cluster, db)
}

fn problem(error: &app_db::Error) -> Option<CertificateProblem> {
    match error {
        app_db::Error::Pool(error) => error.connect_error()?.certificate_problem(),
        _ => None,
    }
}

/// req 2.16, case R48: the authority of the server's certificate is replaced, here and there: the next login reads it,
/// and a rotation does before it proves anything.
#[tokio::test]
async fn a_new_authority_is_read_over_tls_at_the_next_login_and_at_a_rotation() {
    let first = Authority::new().unwrap();
    let (cluster, db) = encrypted(&first, "hostnossl all app_plain all reject").await;
    let secrets = Secrets::new();
    let root = secrets.put("root.pem", &first.pem());
    let url = format!(
        "{}?sslmode=verify-full&sslrootcert={}",
        db.url(),
        root.display()
    );
    let database = Database::connect(&config(&url, &[])).await.unwrap();
    let database = watched(&db, database).with_sessions(21);
    assert_eq!(log_in(&database).await.unwrap(), db.role().name());

    // The server is ahead: the certificate that is here does not fit, and says what is wrong.
    let second = Authority::new().unwrap();
    cluster
        .use_certificate(&second.server().unwrap())
        .await
        .unwrap();
    let error = log_in(&database).await.unwrap_err();
    assert_eq!(
        problem(&error),
        Some(CertificateProblem::NotTrusted),
        "{error:?}"
    );
    secrets.put("root.pem", &second.pem());
    harness::wait_until("it is read", crate::SOON, async || {
        log_in(&database).await.is_ok()
    })
    .await;

    // Both are replaced along with the password.
    let third = Authority::new().unwrap();
    cluster
        .use_certificate(&third.server().unwrap())
        .await
        .unwrap();
    secrets.put("root.pem", &third.pem());
    db.set_password("second1").await.unwrap();
    let credentials = app_db::Credentials::new(db.role().name(), "second1");
    database.rotate(credentials).await.unwrap().drained().await;
    let failed = database.status()[0].connects.failed;
    assert_eq!(log_in(&database).await.unwrap(), db.role().name());
    assert_eq!(database.status()[0].connects.failed, failed);
    database.rests().await;
}

/// case R48: the certificate of the client is read again as well; a rotation with one that cannot be read changes
/// nothing.
#[tokio::test]
async fn a_new_certificate_of_the_client_is_read_over_tls() {
    let authority = Authority::new().unwrap();
    let (cluster, db) = encrypted(
        &authority,
        "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full",
    )
    .await;
    let secrets = Secrets::new();
    let put = |of: &Authority| {
        let client = of.client(db.role().name()).unwrap();
        secrets.put("client.pem", &client.cert);
        secrets.put("client.key", &client.key);
    };
    put(&authority);
    let root = secrets.put("root.pem", &authority.pem());
    let url = format!(
        "{}?sslmode=verify-full&sslrootcert={}&sslcert={}&sslkey={}",
        db.url(),
        root.display(),
        secrets.path("client.pem").display(),
        secrets.path("client.key").display()
    );
    let database = Database::connect(&config(&url, &[])).await.unwrap();
    let database = watched(&db, database).with_sessions(21);
    assert_eq!(log_in(&database).await.unwrap(), db.role().name());

    // One that the server does not trust, and one that is no certificate.
    let stranger = Authority::new().unwrap();
    put(&stranger);
    let credentials = || app_db::Credentials::new(db.role().name(), db.password());
    let error = database.rotate(credentials()).await.unwrap_err();
    assert_eq!(
        problem(&error),
        Some(CertificateProblem::ClientRefused),
        "{error:?}"
    );
    fs::write(secrets.path("client.pem"), "nothing").unwrap();
    database.rotate(credentials()).await.unwrap_err();
    assert_eq!(database.status()[0].generation, 1);
    assert_eq!(log_in(&database).await.unwrap(), db.role().name());

    put(&authority);
    database
        .rotate(credentials())
        .await
        .unwrap()
        .drained()
        .await;
    assert_eq!(log_in(&database).await.unwrap(), db.role().name());
    database.rests().await;
    drop(cluster);
}

/// case R48: another name, an expired certificate and an unknown authority are three problems.
#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told_apart_over_tls() {
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (cluster, db) = encrypted(&authority, "hostnossl all app_plain all reject").await;
    let secrets = Secrets::new();
    let known = secrets.put("known.pem", &authority.pem());
    let unknown = secrets.put("unknown.pem", &stranger.pem());
    for (certificate, root, expected) in [
        (
            authority.server_named(&["db.example"]),
            &known,
            CertificateProblem::WrongName,
        ),
        (
            authority.expired_server(),
            &known,
            CertificateProblem::Expired,
        ),
        (authority.server(), &unknown, CertificateProblem::NotTrusted),
    ] {
        cluster
            .use_certificate(&certificate.unwrap())
            .await
            .unwrap();
        let url = format!(
            "{}?sslmode=verify-full&sslrootcert={}",
            db.url(),
            root.display()
        );
        let config = config(&url, &[]);
        // The server takes a moment to read it.
        harness::wait_until("it is told", crate::SOON, async || {
            let error = Database::connect(&config).await.err();
            error.is_some_and(|error| problem(&error) == Some(expected))
        })
        .await;
    }
}
