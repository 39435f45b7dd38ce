//! Endpoints of several hosts, and of Unix sockets.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use app_db::Pool;
use diesel::QueryResult;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Cluster, ClusterOptions, Stop, TestDatabase, wait_until};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::{Watched, open_at};
use crate::pool::{sized, url};

/// The URL of a database with other hosts in it.
fn with_hosts(db: &TestDatabase, hosts: &str) -> String {
    format!(
        "postgres://{}:{}@{hosts}/{}",
        db.role().name(),
        db.password(),
        db.name()
    )
}

async fn ask(conn: &mut AsyncPgConnection, what: &str) -> QueryResult<bool> {
    diesel::dsl::sql::<Bool>(&format!("select {what}"))
        .get_result(conn)
        .await
}

/// Drops a statement and waits until the server has stopped it, which shows that the cancel request
/// arrived.
async fn assert_cancels(db: &TestDatabase, pool: &Pool) {
    let is_asleep = async || {
        let backends = db.backends("app-db").await.unwrap();
        backends
            .iter()
            .any(|backend| backend.state == "active" && backend.query.contains("pg_sleep"))
    };
    let mut conn = pool.get().await.unwrap();
    let sleeping = tokio::spawn(async move { conn.batch_execute("select pg_sleep(25)").await });
    wait_until("the statement runs", SOON, &is_asleep).await;
    sleeping.abort();
    wait_until("the statement is cancelled", SOON, async || {
        !is_asleep().await
    })
    .await;
}

/// case F8: a host that accepts and stays silent does not use up the time that the others need.
#[tokio::test]
async fn a_silent_first_host_costs_its_share_of_the_time_once() {
    let db = TestDatabase::empty().await.unwrap();
    let (silent, calls) = silent_host().await;
    let hosts = format!("{silent},127.0.0.1:{}", db.server().port());
    let mut profile = sized(2);
    profile.connect_timeout = Duration::from_secs(2);
    let began = Instant::now();
    // A silent host that used up the whole of the time would leave none for the one that answers.
    let pool = open_at(&db, &with_hosts(&db, &hosts), profile).await;
    let took = began.elapsed();
    let share = Duration::from_secs(1);
    assert!(took >= share, "{took:?}");
    assert_eq!(AtomicU32::load(&calls, Ordering::SeqCst), 1);

    // From then on the host that answered is asked first, for connections and for cancel requests.
    let held = pool.get().await.unwrap();
    drop(pool.get().await.unwrap());
    assert_eq!(pool.status().connects.opened, 2);
    assert_cancels(&db, &pool).await;
    assert_eq!(AtomicU32::load(&calls, Ordering::SeqCst), 1);
    drop(held);
    pool.rests().await;
}

/// A host that refuses, or whose name is not known, is passed over at once.
#[tokio::test]
async fn a_host_that_refuses_is_passed_over() {
    let db = TestDatabase::empty().await.unwrap();
    let hosts = format!("127.0.0.1:1,127.0.0.1:{}", db.server().port());
    let mut profile = sized(1);
    profile.connect_timeout = SHARE * 2;
    let connecting = Pool::connect(url(&with_hosts(&db, &hosts)), profile);
    timeout(SHARE, connecting)
        .await
        .expect("the first host's share of the time is not waited for")
        .unwrap();
}

const SHARE: Duration = Duration::from_secs(30);

/// A host that accepts and never says a word, and how often it was called.
async fn silent_host() -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    harness::beside(async move {
        let mut unanswered = Vec::new();
        loop {
            unanswered.push(listener.accept().await.unwrap());
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, calls)
}

struct OverSockets {
    cluster: Cluster,
    db: TestDatabase,
    /// The folder of the server's socket, as a URL names it.
    socket: String,
    _dir: tempfile::TempDir,
}

impl OverSockets {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let path = dir.path().to_str().unwrap();
        let options = ClusterOptions::default()
            .setting("unix_socket_directories", path)
            .hba("local all all scram-sha-256");
        let cluster = Cluster::start(options).await.unwrap();
        Self {
            db: TestDatabase::empty_on(&cluster).await.unwrap(),
            socket: path.replace('/', "%2F"),
            cluster,
            _dir: dir,
        }
    }

    async fn pool(&self, hosts: &str) -> Watched {
        let hosts = hosts
            .replace("SOCKET", &self.socket)
            .replace("PORT", &self.cluster.port().to_string());
        open_at(&self.db, &with_hosts(&self.db, &hosts), sized(2)).await
    }
}

async fn is_local(pool: &Pool) -> bool {
    let mut conn = pool.get().await.unwrap();
    ask(&mut conn, "inet_server_addr() is null").await.unwrap()
}

/// case F1: a pool works over a Unix socket, and cancels over it too.
#[tokio::test]
async fn a_unix_socket_is_a_host() {
    let server = OverSockets::start().await;
    let pool = server.pool("SOCKET:PORT").await;
    assert!(is_local(&pool).await);
    assert_cancels(&server.db, &pool).await;
    assert!(is_local(&pool).await);
    assert_eq!(pool.status().closed.discarded, 1);
    pool.rests().await;
}

/// A list may mix sockets and addresses. The first one that answers is used.
#[tokio::test]
async fn a_list_mixes_sockets_and_addresses() {
    let server = OverSockets::start().await;
    for (hosts, local) in [
        ("SOCKET:PORT,127.0.0.1:PORT", true),
        ("SOCKET:PORT,SOCKET:PORT", true),
        ("127.0.0.1:PORT,SOCKET:PORT", false),
        ("SOCKET:1,127.0.0.1:PORT", false),
        ("%2Fnowhere:PORT,SOCKET:PORT", true),
        ("127.0.0.1:1,SOCKET:PORT", true),
    ] {
        let pool = server.pool(hosts).await;
        assert_eq!(is_local(&pool).await, local, "{hosts}");
        assert_cancels(&server.db, &pool).await;
        pool.rests().await;
    }
}

/// `target_session_attrs`: the primary is found wherever it stands in the list, and so is a standby.
#[tokio::test]
async fn the_session_goes_to_the_host_that_takes_writes_or_does_not() {
    let primary = Cluster::start(ClusterOptions::default()).await.unwrap();
    let standby = primary.replica("replica1").await.unwrap();
    let db = TestDatabase::empty_on(&primary).await.unwrap();
    standby.caught_up_with(&primary).await.unwrap();
    let lists = [(&primary, &standby), (&standby, &primary)];
    for (first, second) in lists {
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", first.port(), second.port());
        for (attrs, recovering) in [
            ("read-write", false),
            ("read-only", true),
            ("primary", false),
            ("standby", true),
            ("prefer-standby", true),
        ] {
            let with_attrs = format!("{}?target_session_attrs={attrs}", with_hosts(&db, &hosts));
            let pool = Pool::connect(url(&with_attrs), sized(2)).await.unwrap();
            let mut conn = pool.get().await.unwrap();
            let found = ask(&mut conn, "pg_is_in_recovery()").await.unwrap();
            assert_eq!(found, recovering, "{attrs} of {hosts}");
        }
    }
    let alone = format!("127.0.0.1:{}", primary.port());
    let of_one = |attrs| format!("{}?target_session_attrs={attrs}", with_hosts(&db, &alone));
    let preferring = Pool::connect(url(&of_one("prefer-standby")), sized(1)).await;
    assert!(
        !ask(
            &mut preferring.unwrap().get().await.unwrap(),
            "pg_is_in_recovery()"
        )
        .await
        .unwrap()
    );
    let refused = Pool::connect(url(&of_one("standby")), sized(1))
        .await
        .unwrap_err();
    let told = "it is no standby, and target_session_attrs is standby";
    let cause = refused.connect_error().unwrap().to_string();
    assert!(cause.contains(told), "{cause}");
}

/// case R05, req 2.02: after a failover new connections go to the standby that was promoted.
#[tokio::test]
async fn a_failover_is_followed() {
    let primary = Cluster::start(ClusterOptions::default()).await.unwrap();
    let standby = primary.replica("replica1").await.unwrap();
    let db = TestDatabase::empty_on(&primary).await.unwrap();
    standby.caught_up_with(&primary).await.unwrap();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port());
    let read_write = format!(
        "{}?target_session_attrs=read-write",
        with_hosts(&db, &hosts)
    );
    let pool = open_at(&db, &read_write, sized(2)).await;
    primary.stop(Stop::Immediate).await.unwrap();
    // The standby takes no writes yet, and is not taken for a primary.
    timeout(Duration::from_millis(300), pool.get())
        .await
        .unwrap_err();
    standby.promote().await.unwrap();
    let mut conn = timeout(SOON, pool.get()).await.unwrap().unwrap();
    let on_the_standby = format!("inet_server_port() = {}", standby.port());
    assert!(ask(&mut conn, &on_the_standby).await.unwrap());
    drop(conn);
    pool.moved_to(&standby, &db).rests().await;
}
