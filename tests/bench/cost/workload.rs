//! The measured pieces of work, and the sides that do them.

use std::path::Path;

use app_db::db_pool::{TimeEvent, plumbing};
use app_db::{Config, Database, Environment, Pool, PoolProfile, PooledUrl};
use db_observe::{Exporter, Format};
use diesel::QueryResult;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::deadpool::Deadpool;
use crate::{accounts, bb8_pool, memory};

/// One piece of work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// SELECT by key, which diesel keeps prepared.
    Select,
    /// UPDATE by key, which diesel prepares each time.
    Update,
    /// A transaction of SELECT .. FOR UPDATE, UPDATE and INSERT.
    Transaction,
    /// The same with `db.write`, and with deadpool-postgres without diesel.
    Write,
    /// SELECT by key with `db.read`, and on a connection from `db.get`.
    Read,
    /// A checkout and a return, with our pool and with bb8 without validation.
    Checkout,
    /// One more connection that has run nothing yet.
    FreshConnection,
    /// One more connection that has run some statements and is idle.
    Connection,
}

/// The side to which the connection or pool belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    /// Ours without statistics of statements and slow-query log.
    Unwatched,
    /// Ours with a subscriber that wants the spans of statements and transactions, and does nothing with them.
    Traced,
    /// Ours, with its times reported to OpenTelemetry histograms.
    Told,
    /// The write pool of a database.
    OfDatabase,
    /// The same with an exporter that has been scraped.
    Exported,
    /// A peer's.
    Plain,
}

impl Workload {
    pub(crate) const ALL: [Self; 8] = [
        Self::Select,
        Self::Update,
        Self::Transaction,
        Self::Write,
        Self::Read,
        Self::Checkout,
        Self::FreshConnection,
        Self::Connection,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Update => "update",
            Self::Transaction => "three-statement transaction",
            Self::Write => "transaction by write",
            Self::Read => "select by read",
            Self::Checkout => "checkout and return",
            Self::FreshConnection => "fresh connection",
            Self::Connection => "connection",
        }
    }

    pub(crate) fn named(title: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|work| work.title() == title)
            .unwrap()
    }

    /// How many rounds are enough for the result, and few enough for a server.
    pub(crate) fn rounds(self) -> u32 {
        match self {
            Self::FreshConnection | Self::Connection => 20,
            _ => 1000,
        }
    }

    /// Whether it is about memory, and not about instructions.
    pub(crate) fn is_memory(self) -> bool {
        matches!(self, Self::FreshConnection | Self::Connection)
    }

    /// Whether it runs statements, which telemetry watches.
    pub(crate) fn is_watched(self) -> bool {
        !self.is_memory() && self != Self::Checkout
    }

    /// Does `rounds` rounds, and calls `measured` before it drops anything that must be measured.
    pub(crate) async fn run(self, side: Side, url: &str, rounds: u32, measured: impl FnOnce()) {
        match (self, side) {
            (Self::FreshConnection | Self::Connection, Side::Plain) => {
                let mut idle = Vec::new();
                for _ in 0..rounds {
                    let mut conn = plain(url).await;
                    if self == Self::Connection {
                        memory::use_it(&mut conn).await;
                    }
                    idle.push(conn);
                }
                measured();
            }
            (Self::FreshConnection | Self::Connection, _) => {
                let pool = pool(url, side, rounds);
                let mut held = Vec::new();
                for _ in 0..rounds {
                    let mut conn = pool.get().await.unwrap();
                    if self == Self::Connection {
                        memory::use_it(&mut conn).await;
                    }
                    held.push(conn);
                }
                drop(held);
                measured();
            }
            (Self::Write, Side::Plain) => {
                let pool = Deadpool::connect(url).await;
                for _ in 0..rounds {
                    pool.transfer().await.unwrap();
                }
                measured();
            }
            (Self::Write, _) => {
                let database = database(url, side).await;
                for _ in 0..rounds {
                    database.write(accounts::transfer).await.unwrap();
                }
                measured();
            }
            (Self::Read, Side::Plain) => {
                let database = database(url, side).await;
                for _ in 0..rounds {
                    let mut conn = database.get().await.unwrap();
                    assert!(accounts::select(&mut conn).await >= 0);
                }
                measured();
            }
            (Self::Read, _) => {
                let database = database(url, side).await;
                for _ in 0..rounds {
                    let read: QueryResult<i64> = database
                        .read(async |conn| Ok(accounts::select(conn).await))
                        .await;
                    assert!(read.unwrap() >= 0);
                }
                measured();
            }
            (Self::Checkout, Side::Plain) => {
                let pool = bb8_pool::connect(url, 1, false).await;
                for _ in 0..rounds {
                    drop(pool.get().await.unwrap());
                }
                measured();
            }
            (Self::Checkout, Side::OfDatabase | Side::Exported) => {
                let database = database(url, side).await;
                let exporter = Exporter::with_fingerprints(&database, None, MOST_FINGERPRINTS);
                if side == Side::Exported {
                    assert!(!exporter.encode(Format::Prometheus).is_empty());
                }
                let pool = database.pool("write").unwrap();
                for _ in 0..rounds {
                    drop(pool.get().await.unwrap());
                }
                measured();
            }
            (Self::Checkout, _) => {
                let pool = pool(url, side, 1);
                let _meter = (side == Side::Told).then(|| told(&pool));
                for _ in 0..rounds {
                    drop(pool.get().await.unwrap());
                }
                measured();
            }
            (_, Side::Plain) => {
                self.statements(&mut plain(url).await, rounds).await;
                measured();
            }
            _ => {
                let pool = pool(url, side, 1);
                self.statements(&mut pool.get().await.unwrap(), rounds)
                    .await;
                measured();
            }
        }
    }

    async fn statements(self, conn: &mut AsyncPgConnection, rounds: u32) {
        for _ in 0..rounds {
            match self {
                Self::Select => assert!(accounts::select(conn).await >= 0),
                Self::Update => assert_eq!(accounts::update(conn).await, Ok(1)),
                _ => {
                    let transferred: QueryResult<()> = conn
                        .transaction(async |conn| accounts::transfer(conn).await)
                        .await;
                    transferred.unwrap();
                }
            }
        }
    }
}

impl Side {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Unwatched => "unwatched",
            Self::Traced => "traced",
            Self::Told => "told",
            Self::OfDatabase => "of a database",
            Self::Exported => "exported",
            Self::Plain => "plain",
        }
    }

    pub(crate) fn named(title: &str) -> Self {
        let all = [
            Self::Ours,
            Self::Unwatched,
            Self::Traced,
            Self::Told,
            Self::OfDatabase,
            Self::Exported,
            Self::Plain,
        ];
        all.into_iter().find(|side| side.title() == title).unwrap()
    }

    /// Sets up what the process of this side needs.
    pub(crate) fn begin(self) {
        if self == Self::Traced {
            let spans = Targets::new().with_target("app_db", LevelFilter::DEBUG);
            tracing_subscriber::registry().with(spans).init();
        }
    }
}

fn pool(url: &str, side: Side, connections: u32) -> Pool {
    let mut profile = PoolProfile::of(&Environment::Test);
    if side == Side::Unwatched {
        profile.statement_statistics = false;
        profile.slow_query = None;
    }
    profile.max = connections;
    profile.min_idle = connections;
    // A login takes seconds under valgrind, and longer on a machine that is busy.
    let patient = std::time::Duration::from_secs(120);
    (profile.connect_timeout, profile.checkout_timeout) = (patient, patient);
    Pool::connect_lazy(PooledUrl::parse(url).unwrap(), profile)
}

async fn database(url: &str, side: Side) -> Database {
    let (statistics, threshold) = match side {
        // The configuration has no value that switches the log off.
        Side::Unwatched => ("off", "1day"),
        _ => ("on", "500ms"),
    };
    let variables = [
        ("APP_ENV", "test"),
        ("DATABASE_URL", url),
        ("APP_DB__PROFILE__STATEMENT_STATISTICS", statistics),
        ("APP_DB__SLOW_QUERY__THRESHOLD", threshold),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::load_from(Path::new("/nonexistent"), variables).unwrap();
    Database::connect(&config).await.unwrap()
}

/// Records the times of checkouts and holds, as `OtelExport` does.
fn told(pool: &Pool) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(InMemoryMetricExporter::default()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let meter = provider.meter("app-db");
    let wait = meter
        .f64_histogram("db.client.connection.wait_time")
        .build();
    let used = meter.f64_histogram("db.client.connection.use_time").build();
    let name = [KeyValue::new("db.client.connection.pool.name", "pool")];
    let listener = Box::new(move |event: TimeEvent<'_>| match event {
        TimeEvent::CheckedOut(time) => wait.record(time.as_secs_f64(), &name),
        TimeEvent::Held(time) => used.record(time.as_secs_f64(), &name),
        _ => {}
    });
    assert!(plumbing::listen_to_times(pool, listener));
    provider
}

/// As many as an exporter tells apart.
const MOST_FINGERPRINTS: usize = 50;

async fn plain(url: &str) -> AsyncPgConnection {
    AsyncPgConnection::establish(url).await.unwrap()
}
