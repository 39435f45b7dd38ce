//! Every way in which connecting can fail. Permanent failures are reported at once, others are retried,
//! and each names the stage in which it failed.

use std::time::{Duration, Instant};

use app_db::{Kind, Pool, PoolError};
use db_pool::{ConnectFailure, ConnectStage};
use harness::{
    Bouncer, BouncerBinary, BouncerOptions, Cluster, ClusterOptions, PoolMode, TestDatabase,
    wait_until,
};
use tokio::net::TcpListener;

use crate::SOON;
use crate::at_rest::{unserved, watched};
use crate::pool::{sized, url};

/// Asserts that a permanent failure is reported after one login, and not when the time for the checkout
/// is up.
async fn assert_refused(
    db: &TestDatabase,
    url_text: &str,
    failure: ConnectFailure,
    stage: ConnectStage,
    sqlstate: Option<&str>,
) {
    let pool = watched(db, Pool::connect_lazy(url(url_text), sized(3)));
    let error = pool.get().await.unwrap_err();
    assert!(matches!(error, PoolError::Connect { .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Configuration, "{error:?}");
    let code = error.sqlstate();
    assert_eq!(
        code.as_ref().map(app_db::SqlState::code),
        sqlstate,
        "{error:?}"
    );
    let cause = error.connect_error().unwrap();
    assert_eq!(
        (cause.failure(), cause.stage()),
        (failure, stage),
        "{cause}"
    );
    let status = pool.status();
    assert_eq!((status.connects.failed, status.checkouts.timed_out), (1, 0));
    pool.rests_unserved().await;
}

/// case R02, case R03, case F6; req 0.30
#[tokio::test]
async fn what_the_server_refuses_for_good_is_said_at_once() {
    let cluster = Cluster::start(ClusterOptions::default().setting("log_connections", "on"))
        .await
        .unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let locked = db.add_role().await.unwrap();
    cluster
        .sql(&format!("ALTER ROLE {} NOLOGIN", locked.name()))
        .await
        .unwrap();
    let (port, user, password) = (cluster.port(), db.role().name(), db.password());
    let wrong = harness::url(port, db.name(), user, "wrong");
    let missing = harness::url(port, "no_such_db", user, &password);
    let login = ConnectStage::Login;
    assert_refused(
        &db,
        &wrong,
        ConnectFailure::Authentication,
        login,
        Some("28P01"),
    )
    .await;
    assert_refused(
        &db,
        &db.url_as(&locked),
        ConnectFailure::Authentication,
        login,
        Some("28000"),
    )
    .await;
    assert_refused(
        &db,
        &missing,
        ConnectFailure::NoSuchDatabase,
        login,
        Some("3D000"),
    )
    .await;
    let fatal = |code_text: &str| cluster.log_text().matches(code_text).count();
    assert_eq!(fatal("FATAL:  password authentication failed"), 1);
    assert_eq!(fatal("is not permitted to log in"), 1);
    assert_eq!(fatal("FATAL:  database \"no_such_db\" does not exist"), 1);
}

/// case R02, case R03: the same behind PgBouncer, which has no codes of its own for it.
#[tokio::test]
async fn what_a_pooler_refuses_for_good_is_said_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let bouncer = Bouncer::start(db.server(), BouncerOptions::mode(mode))
            .await
            .unwrap();
        let (port, user) = (bouncer.port(), db.role().name());
        let login = ConnectStage::Login;
        let wrong = harness::url(port, db.name(), user, "wrong");
        assert_refused(
            &db,
            &wrong,
            ConnectFailure::Authentication,
            login,
            Some("08P01"),
        )
        .await;
        let nobody = harness::url(port, db.name(), "no_such_user", "p");
        assert_refused(
            &db,
            &nobody,
            ConnectFailure::Authentication,
            login,
            Some("08P01"),
        )
        .await;
    }
}

/// case R02: a database that only the server knows not to exist, which each PgBouncer passes on in its own way.
#[tokio::test]
async fn what_a_pooler_passes_on_is_said_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    for binary in BouncerBinary::all() {
        let options = BouncerOptions::mode(PoolMode::Transaction).binary(binary);
        let bouncer = Bouncer::start(db.server(), options).await.unwrap();
        // It knows this user without asking the server. For the others it would ask in that very database, for ever.
        let (user, password) = ("postgres", db.server().password());
        let elsewhere = harness::url(bouncer.port(), "no_such_db", user, password);
        let pool = unserved(Pool::connect_lazy(url(&elsewhere), sized(3)));
        let error = pool.get().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration, "{error:?}");
        let cause = error.connect_error().unwrap();
        assert_eq!(cause.failure(), ConnectFailure::NoSuchDatabase, "{cause}");
        assert_eq!(pool.status().connects.failed, 1, "{cause}");
        pool.rests_unserved().await;
    }
}

/// case R47, case R48: TLS failures are permanent too, at every step.
#[tokio::test]
async fn what_tls_refuses_is_said_at_once() {
    let db = TestDatabase::empty().await.unwrap();
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let required = format!("{}{separator}sslmode=require", db.url());
    assert_refused(&db, &required, ConnectFailure::Tls, ConnectStage::Tls, None).await;
    let unreadable = format!(
        "{}{separator}sslmode=verify-full&sslrootcert=/no/such",
        db.url()
    );
    let pool = watched(&db, Pool::connect_lazy(url(&unreadable), sized(1)));
    let error = pool.get().await.unwrap_err();
    assert_eq!(error.connect_error().unwrap().stage(), ConnectStage::Tls);
    pool.rests_unserved().await;
}

/// case R47, case R48: an expired certificate is a permanent failure too.
#[tokio::test]
async fn what_is_refused_over_tls_is_said_at_once() {
    let authority = harness::Authority::new().unwrap();
    let options = ClusterOptions::default().tls(authority.expired_server().unwrap());
    let cluster = Cluster::start(options).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let root = cluster.root_cert().display().to_string();
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let expired = format!(
        "{}{separator}sslmode=verify-full&sslrootcert={root}",
        db.url()
    );
    assert_refused(&db, &expired, ConnectFailure::Tls, ConnectStage::Tls, None).await;
}

/// Asserts that a temporary failure is retried while somebody waits, and named if the wait times out.
async fn assert_tried_again(url_text: &str, failure: ConnectFailure, stage: ConnectStage) {
    let mut profile = sized(3);
    profile.reconnect.base_delay = Duration::from_millis(100);
    profile.checkout_timeout = Duration::from_millis(700);
    let pool = unserved(Pool::connect_lazy(url(url_text), profile));
    let error = pool.get().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Down, "{error:?}");
    let cause = error.connect_error().unwrap();
    assert_eq!(
        (cause.failure(), cause.stage()),
        (failure, stage),
        "{cause}"
    );
    let tried = pool.status().connects.failed;
    assert!((2..=15).contains(&tried), "{tried} attempts");
    pool.rests_unserved().await;
}

/// req 0.30: a port that refuses and a name that does not resolve are told apart.
#[tokio::test]
async fn a_refused_port_and_an_unknown_name_are_tried_again() {
    let refused = "postgres://u:p@127.0.0.1:1/d";
    assert_tried_again(refused, ConnectFailure::Unreachable, ConnectStage::Socket).await;
    let unknown = "postgres://u:p@no-such-host.invalid:5432/d?sslmode=disable";
    assert_tried_again(unknown, ConnectFailure::UnknownHost, ConnectStage::Name).await;
}

/// case R04: a server that is full is asked again, and the caller is served when there is room.
#[tokio::test]
async fn a_full_server_is_waited_for() {
    let db = TestDatabase::empty().await.unwrap();
    db.limit_connections(0).await.unwrap();
    assert_tried_again(
        &db.url(),
        ConnectFailure::TooManyConnections,
        ConnectStage::Login,
    )
    .await;

    let pool = watched(&db, Pool::connect_lazy(url(&db.url()), sized(3)));
    let waiting = tokio::spawn(pool.get());
    wait_until("it has been refused", SOON, async || {
        pool.status().connects.failed > 0
    })
    .await;
    db.limit_connections(5).await.unwrap();
    let began = Instant::now();
    drop(waiting.await.unwrap().unwrap());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(pool.status().connects.failed <= 3);
    pool.rests().await;
}

/// case F8: a hanging connect is given up at the deadline, and the error says where it hung.
#[tokio::test]
async fn a_hung_connect_names_its_stage() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    for (sslmode, stage) in [
        ("disable", ConnectStage::Login),
        ("require", ConnectStage::Tls),
    ] {
        let address = format!("postgres://u:p@127.0.0.1:{port}/d?sslmode={sslmode}");
        for (connect, checkout) in [(200, 300), (5_000, 300)] {
            let mut profile = sized(1);
            profile.connect_timeout = Duration::from_millis(connect);
            profile.checkout_timeout = Duration::from_millis(checkout);
            let pool = unserved(Pool::connect_lazy(url(&address), profile));
            // The watch checks that it is not too late.
            let error = pool.get().await.unwrap_err();
            let cause = error.connect_error().unwrap();
            assert_eq!(
                (cause.failure(), cause.stage()),
                (ConnectFailure::TimedOut, stage),
                "{cause}"
            );
            assert!(cause.to_string().contains(&stage.to_string()), "{cause}");
            pool.rests_unserved().await;
        }
    }
}
