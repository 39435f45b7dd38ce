//! What a process needs from its start to its first row, and what it learns on the way.

use std::sync::{Arc, Mutex};

use db_pool::Pool;
use db_pool::plumbing::setting_differs;
use diesel::sql_types::Integer;
use diesel::{IntoSql, QueryResult};
use diesel_async::RunQueryDsl;
use futures_util::future::join_all;
use harness::{Bouncer, TestDatabase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::NoTls;

use crate::pool::{sized, url};
use crate::transaction::database;
use crate::transaction_pooler::Version;

/// Forwards to a port, and records the first message of each request that had to wait for an answer.
pub(crate) struct Counted {
    pub(crate) port: u16,
    requests: Arc<Mutex<String>>,
}

impl Counted {
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&written)));
            }
        });
        Self { port, requests }
    }

    /// The requests so far; a login counts as one.
    pub(crate) fn round_trips(&self) -> String {
        self.requests.lock().unwrap().clone()
    }
}

/// Forwards until either side hangs up.
async fn forward(mut client: TcpStream, mut server: TcpStream, requests: Arc<Mutex<String>>) {
    let (mut from_client, mut from_server) = ([0; 16384], [0; 16384]);
    // What the client adds before it has an answer belongs to the same round trip.
    let mut is_answered = true;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(count @ 1..) = read else { return };
                let first = match from_client[0] {
                    0 => Some("login "),
                    // The rest of the login, which SCRAM spreads over three.
                    b'p' => None,
                    b'Q' => Some("query "),
                    b'P' => Some("parse "),
                    b'B' => Some("bind "),
                    b'C' => Some("close "),
                    b'X' => return,
                    _ => Some("other "),
                };
                if std::mem::take(&mut is_answered) {
                    requests.lock().unwrap().push_str(first.unwrap_or_default());
                }
                server.write_all(&from_client[..count]).await.unwrap();
            }
            read = server.read(&mut from_server) => {
                let Ok(count @ 1..) = read else { return };
                is_answered = true;
                client.write_all(&from_server[..count]).await.unwrap();
            }
        }
    }
}

pub(crate) fn way(db: &TestDatabase, port: u16) -> String {
    harness::url(port, db.name(), db.role().name(), &db.password())
}

/// Opens everything that a service opens, and asks for one row.
async fn first_row(way: &str) {
    let database = database(way, &[("APP_DB__PROFILE__MIN_IDLE", "0")]).await;
    let mut conn = database.get().await.unwrap();
    let row: QueryResult<i32> = diesel::select(7.into_sql::<Integer>())
        .get_result(&mut conn)
        .await;
    assert_eq!(row, Ok(7));
}

/// The login, all that is asked of the server, and the statement, which is prepared and run.
#[tokio::test]
async fn the_first_row_takes_four_round_trips() {
    let db = TestDatabase::empty().await.unwrap();
    let counted = Counted::start(db.server().port()).await;
    first_row(&way(&db, counted.port)).await;
    assert_eq!(counted.round_trips(), "login query parse bind ");
}

/// A statement that is prepared and then run, under any name.
const FIRST_ROW: &str = "parse parse ";

/// Behind a pooler there is more to find out, once.
#[tokio::test]
async fn behind_a_pooler_the_rest_is_asked_once() {
    let db = TestDatabase::empty().await.unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let counted = Counted::start(bouncer.port()).await;
        first_row(&way(&db, counted.port)).await;
        let trips = counted.round_trips();
        // A pooler that refuses `options` gets two logins.
        let found_out = trips.trim_start_matches("login ");
        // If the pooler keeps names, a text that may be kept is prepared with a name.
        let first_row = match version {
            Version::NewKeeping => "parse bind ",
            _ => FIRST_ROW,
        };
        let expected = format!("query query close {first_row}");
        assert_eq!(found_out, expected, "{version:?}");

        // The second connection knows.
        let pool = Pool::connect(url(&way(&db, counted.port)), sized(2))
            .await
            .unwrap();
        let _first = pool.get().await.unwrap();
        let before = counted.round_trips().len();
        let _second = pool.get().await.unwrap();
        assert_eq!(&counted.round_trips()[before..], "login ", "{version:?}");
    }
}

/// Connections that a cold pool opens at the same time ask once together.
#[tokio::test]
async fn a_cold_pool_asks_once_for_all_its_connections() {
    let db = TestDatabase::empty().await.unwrap();
    let bouncer = Version::NewKeeping.start(db.server()).await;
    let behind = bouncer.iter().map(|bouncer| (bouncer.port(), 2));
    for (port, questions) in [(db.server().port(), 1)].into_iter().chain(behind) {
        let counted = Counted::start(port).await;
        let pool = Pool::connect_lazy(url(&way(&db, counted.port)), sized(5));
        let conns = join_all((0..5).map(|_| pool.get())).await;
        assert!(conns.iter().all(Result::is_ok));
        let trips = counted.round_trips();
        // A pooler that refuses `options` gets two logins for each connection.
        assert!(trips.matches("login ").count() >= 5, "{trips}");
        assert_eq!(trips.matches("query ").count(), questions, "{trips}");
    }
}

async fn through(db: &TestDatabase, bouncer: &Bouncer) -> Pool {
    let pool = Pool::connect(url(&db.pooled_url(bouncer)), sized(1)).await;
    pool.unwrap()
}

/// A setting that the role already has need not be sent, unless another client has altered the session that
/// answers.
#[tokio::test]
async fn the_sessions_own_settings_are_told_from_altered_ones() {
    let db = TestDatabase::empty().await.unwrap();
    let role = db.role().name().to_owned();
    let other = format!("{role}_worn");
    let admin = db.server().admin().await.unwrap();
    let alter = format!(
        "create role {other}; grant {other} to {role}; \
         alter role {role} set statement_timeout = '7s'; \
         alter role {role} in database {name} set role = '{other}'",
        name = db.name(),
    );
    admin.batch_execute(&alter).await.unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let pool = through(&db, &bouncer).await;
        let differs = |name, wanted| setting_differs(&pool, name, wanted).unwrap();
        for (name, own, another) in [
            ("statement_timeout", "7000ms", "8s"),
            ("lock_timeout", "0", "1s"),
            ("search_path", "\"$user\", public", "elsewhere"),
            ("role", &*other, "none"),
        ] {
            assert!(!differs(name, own), "{version:?}: {name}");
            assert!(differs(name, another), "{version:?}: {name}");
        }
        drop(pool);

        let way = db.pooled_url(&bouncer);
        let (careless, driver) = tokio_postgres::connect(&way, NoTls).await.unwrap();
        tokio::spawn(driver);
        let alters = "set statement_timeout = '3s'; set role none";
        careless.batch_execute(alters).await.unwrap();
        let pool = through(&db, &bouncer).await;
        let differs = |name, wanted| setting_differs(&pool, name, wanted).unwrap();
        assert!(differs("statement_timeout", "7s") && differs("statement_timeout", "3s"));
        assert!(differs("role", "none") && differs("role", &other));
        assert!(!differs("lock_timeout", "0"), "{version:?}");
    }
    let forget = format!("drop owned by {other}; alter role {role} reset all; drop role {other}");
    admin.batch_execute(&forget).await.unwrap();
}
