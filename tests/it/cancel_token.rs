//! What the public calls cancel, on every way from a connection to its server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use app_db::{ConnectionExt, Pool, SqlState};
use diesel::QueryResult;
use diesel::dsl::sql;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{
    Authority, Bouncer, BouncerOptions, Cluster, ClusterOptions, TestDatabase, wait_until,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::SOON;
use crate::at_rest::{Watched, open_at};
use crate::pool::sized;
use crate::transaction_pooler::Version;

const SLEEP: &str = "select pg_sleep(60)";

/// Waits until the statement of this pool is running.
async fn is_asleep(db: &TestDatabase) {
    wait_until("the statement runs", SOON, async || {
        let backends = db.backends("app-db").await.unwrap();
        backends
            .iter()
            .any(|backend| backend.state == "active" && backend.query.contains("pg_sleep"))
    })
    .await;
}

/// Sleeps on this connection until somebody cancels it. Returns the SQLSTATE that the server gave.
async fn sleep(conn: &mut AsyncPgConnection) -> Option<SqlState> {
    let outcome: QueryResult<()> = conn.batch_execute(SLEEP).await;
    outcome.unwrap_err();
    Some(conn.last_error()?.sqlstate().clone())
}

/// Runs a statement, cancels it with the calls that tokio-postgres users write, and checks what the server
/// did.
async fn assert_cancels(db: &TestDatabase, pool: &Pool) {
    let mut conn = pool.get().await.unwrap();
    let token = conn.cancel_token();
    let cancelling = async {
        is_asleep(db).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (sqlstate, ()) = tokio::join!(sleep(&mut conn), cancelling);
    assert_eq!(sqlstate, Some(SqlState::QUERY_CANCELED));
    // Nothing is wrong with the connection.
    assert_eq!(conn.batch_execute("select 1").await, Ok(()));
}

/// The same over a stream that the caller has connected.
macro_rules! assert_cancels_over {
    ($db:expr, $pool:expr, $stream:expr, $tls:expr) => {{
        let mut conn = $pool.get().await.unwrap();
        let token = conn.cancel_token();
        let cancelling = async {
            is_asleep($db).await;
            let stream = $stream.await.unwrap();
            token.cancel_query_raw(stream, $tls).await.unwrap();
        };
        let (sqlstate, ()) = tokio::join!(sleep(&mut conn), cancelling);
        assert_eq!(sqlstate, Some(SqlState::QUERY_CANCELED));
    }};
}

fn with(url: String, parameters: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameters}")
}

async fn over(db: &TestDatabase, parameters: &str) -> Watched {
    open_at(db, &with(db.url(), parameters), sized(1)).await
}

/// Directly and over plain TCP, whether the URL says so or the server.
#[tokio::test]
async fn cancels_without_tls() {
    let db = TestDatabase::empty().await.unwrap();
    let port = db.server().port();
    for mode in ["sslmode=disable", "sslmode=prefer"] {
        let pool = over(&db, mode).await;
        assert_cancels(&db, &pool).await;
        assert_cancels_over!(&db, pool, TcpStream::connect(("127.0.0.1", port)), NoTls);
        pool.rests().await;
    }
}

/// The pooler hands the request on to the server that runs the statement.
#[tokio::test]
async fn cancels_behind_a_pooler() {
    let db = TestDatabase::empty().await.unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let pool = open_at(&db, &db.pooled_url(&bouncer), sized(1)).await;
        assert_cancels(&db, &pool).await;
        let stream = TcpStream::connect(("127.0.0.1", bouncer.port()));
        assert_cancels_over!(&db, pool, stream, NoTls);
        pool.rests().await;
    }
}

/// And a Unix socket, whose token knows no address.
#[tokio::test]
async fn cancels_over_a_unix_socket() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let path = folder.path().to_str().unwrap();
    let options = ClusterOptions::default().setting("unix_socket_directories", path);
    let cluster = Cluster::start(options).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let port = db.server().port();
    let way = format!(
        "postgres://{}:{}@/{}?host={path}&port={port}",
        db.role().name(),
        db.password(),
        db.name()
    );
    let pool = open_at(&db, &way, sized(1)).await;
    assert_cancels(&db, &pool).await;
    let socket = format!("{path}/.s.PGSQL.{port}");
    assert_cancels_over!(&db, pool, UnixStream::connect(&socket), NoTls);

    pool.rests().await;

    // The same to a pooler.
    let options = BouncerOptions::default().setting("unix_socket_dir", path);
    let bouncer = Bouncer::start(db.server(), options).await.unwrap();
    let port = bouncer.port();
    let way = way.replace(
        &format!("port={}", db.server().port()),
        &format!("port={port}"),
    );
    let behind = open_at(&db, &way, sized(1)).await;
    assert_cancels(&db, &behind).await;
    let socket = format!("{path}/.s.PGSQL.{port}");
    assert_cancels_over!(&db, behind, UnixStream::connect(&socket), NoTls);
    behind.rests().await;
}

struct Encrypted {
    db: TestDatabase,
    root: String,
    _cluster: Cluster,
}

impl Encrypted {
    async fn start() -> Self {
        let certificate = Authority::new().unwrap().server().unwrap();
        let options = ClusterOptions::default().tls(certificate);
        let cluster = Cluster::start(options).await.unwrap();
        Self {
            db: TestDatabase::empty_on(&cluster).await.unwrap(),
            root: cluster.root_cert().display().to_string(),
            _cluster: cluster,
        }
    }

    async fn pool(&self, parameters: &str) -> Watched {
        over(&self.db, &parameters.replace("ROOT", &self.root)).await
    }

    /// A connector that a program has made for itself.
    fn connector(&self) -> MakeRustlsConnect {
        let mut roots = rustls::RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(&self.root).unwrap() {
            roots.add(root.unwrap()).unwrap();
        }
        let builder = rustls::ClientConfig::builder_with_provider(default_provider().into());
        let config = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        MakeRustlsConnect::new(config)
    }
}

/// With the pool's own TLS, and with the caller's TLS if the caller has the stream.
#[tokio::test]
async fn cancels_over_tls() {
    let server = Encrypted::start().await;
    let address = ("127.0.0.1", server.db.server().port());
    for mode in ["prefer", "require", "verify-full&sslrootcert=ROOT"] {
        let pool = server.pool(&format!("sslmode={mode}")).await;
        assert_cancels(&server.db, &pool).await;
        let tls = || {
            use tokio_postgres::tls::MakeTlsConnect;
            let mut own = server.connector();
            MakeTlsConnect::<TcpStream>::make_tls_connect(&mut own, "localhost").unwrap()
        };
        assert_cancels_over!(&server.db, pool, TcpStream::connect(address), tls());
        pool.rests().await;
    }
}

/// Inside work the connection belongs to diesel-async. With TLS its own token works as in tokio-postgres,
/// with the caller's connector; if TLS is only preferred, it also works without one.
#[tokio::test]
async fn the_connections_own_token_cancels_over_tls() {
    let server = Encrypted::start().await;
    for (mode, takes_plain) in [
        ("prefer", true),
        ("require", false),
        ("verify-full&sslrootcert=ROOT", false),
    ] {
        let pool = server.pool(&format!("sslmode={mode}")).await;
        let mut held = pool.get().await.unwrap();
        let conn: &mut AsyncPgConnection = &mut held;
        let token = conn.cancel_token();
        let cancelling = async {
            is_asleep(&server.db).await;
            token.cancel_query(server.connector()).await.unwrap();
        };
        let (sqlstate, ()) = tokio::join!(sleep(conn), cancelling);
        assert_eq!(sqlstate, Some(SqlState::QUERY_CANCELED), "{mode}");
        assert_eq!(
            token.cancel_query(NoTls).await.is_ok(),
            takes_plain,
            "{mode}"
        );
        drop(held);
        pool.rests().await;
    }
}

/// Without TLS there is the pool's token.
#[tokio::test]
async fn work_cancels_by_the_pools_token() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = over(&db, "sslmode=disable").await;
    let mut held = pool.get().await.unwrap();
    let conn: &mut AsyncPgConnection = &mut held;
    let token = conn.pool_cancel_token().unwrap();
    let cancelling = async {
        is_asleep(&db).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (sqlstate, ()) = tokio::join!(sleep(conn), cancelling);
    assert_eq!(sqlstate, Some(SqlState::QUERY_CANCELED));
    drop(held);
    pool.rests().await;
}

/// Forwards to a server. While `denies` is set, it answers the question for TLS with no.
async fn front(port: u16, denies: Arc<AtomicBool>) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let denies = Arc::clone(&denies);
            tokio::spawn(async move {
                let mut first = [0; 8];
                client.read_exact(&mut first).await.unwrap();
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let is_request = first[4..] == SSL_REQUEST;
                match is_request && AtomicBool::load(&denies, Ordering::SeqCst) {
                    true => client.write_all(b"N").await.unwrap(),
                    false => server.write_all(&first).await.unwrap(),
                }
                let _either_ends = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (own, task)
}

/// The code in the place of a version.
const SSL_REQUEST: [u8; 4] = [0x04, 0xd2, 0x16, 0x2f];

/// If TLS is only preferred, the login also works on a server that has gained or lost TLS.
#[tokio::test]
async fn a_preference_follows_the_server_over_tls() {
    let server = Encrypted::start().await;
    let denies = Arc::new(AtomicBool::new(false));
    let (port, fronting) = front(server.db.server().port(), Arc::clone(&denies)).await;
    let way = format!(
        "postgres://{}:{}@127.0.0.1:{port}/{}?sslmode=prefer",
        server.db.role().name(),
        server.db.password(),
        server.db.name()
    );
    let pool = open_at(&server.db, &way, sized(1)).await;
    for is_plain in [false, true, false, false] {
        denies.store(is_plain, Ordering::SeqCst);
        pool.get().await.unwrap().discard();
        let mut conn = pool.get().await.unwrap();
        let spoken: bool = sql::<Bool>("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
            .get_result(&mut conn)
            .await
            .unwrap();
        assert_eq!(spoken, !is_plain);
        drop(conn);
        assert_cancels(&server.db, &pool).await;
    }
    // Its task does not belong to the pool.
    fronting.abort();
    fronting.await.unwrap_err();
    pool.rests().await;
}
