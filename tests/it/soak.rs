//! Everything at once: a ledger under load while its server, its network, its password and the size of its pool
//! change at random.
//!
//! An acknowledged transfer is in the database exactly once, and a refused one is not. Only a transfer with an
//! unknown outcome may be either. `DB_TESTS_SOAK_SECONDS` sets the duration, and `DB_TESTS_SOAK_SEED` repeats the
//! random choices of a run.

mod books;
mod chaos;

use std::env;
use std::time::{Duration, Instant};

use app_db::Database;
use harness::{Bouncer, Cluster, ClusterOptions, Proxy, TestDatabase, wait_until};

use self::books::{Books, Clerk};
use self::chaos::Chaos;
use crate::SOON;
use crate::alone::has_its_own_process;
use crate::at_rest::{Watched, watched};
use crate::transaction::database;
use crate::transaction_pooler::Version;

const CLERKS: i64 = 12;

/// To which size the pool may grow.
const LARGEST: u32 = 10;

/// case R05, case R06, case R07, case R13, case R18, case R20, case R21, case R40, case F1, req 2.01, req 4.28:
/// nothing that happens to a service loses or doubles a transfer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_is_right_whatever_happens_to_its_connections() {
    if !has_its_own_process() {
        return;
    }
    let place = Place::new(None).await;
    let descriptors = descriptors();
    let (database, books) = place.soak().await;
    database.comes_to_rest().await;
    books.are_right(&place.db).await;
    // A session may outlive a socket that was cut, as long as it waits for a lock, and its place is taken meanwhile. On a
    // slow machine a second cut comes before that is over.
    database
        .with_sessions(3 * LARGEST as usize + 1)
        .rests()
        .await;
    wait_until("no socket is left", SOON, async || {
        self::descriptors() <= descriptors
    })
    .await;
}

/// case R32: the same behind a pooler that restarts too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_is_right_behind_a_pooler_that_comes_and_goes() {
    for version in [Version::Old, Version::NewKeeping] {
        let place = Place::new(Some(version)).await;
        if place.bouncer.is_none() {
            continue;
        }
        let (database, books) = place.soak().await;
        database.comes_to_rest().await;
        books.are_right(&place.db).await;
        database.rests().await;
    }
}

/// Where it happens.
struct Place {
    proxy: Proxy,
    bouncer: Option<Bouncer>,
    db: TestDatabase,
    cluster: Cluster,
}

impl Place {
    async fn new(pooler: Option<Version>) -> Self {
        let options = ClusterOptions::default().max_connections(100);
        let cluster = Cluster::start(options).await.unwrap();
        let db = TestDatabase::empty_on(&cluster).await.unwrap();
        books::open(&db).await;
        let bouncer = match pooler {
            Some(version) => version.start(&cluster).await,
            None => None,
        };
        let behind = bouncer.as_ref().map_or(cluster.port(), Bouncer::port);
        let proxy = Proxy::start(behind).await.unwrap();
        Self {
            proxy,
            bouncer,
            db,
            cluster,
        }
    }

    /// Lets everything happen, and returns when work is done again.
    #[expect(
        clippy::print_stdout,
        reason = "whoever looks into a failure needs the dice"
    )]
    async fn soak(&self) -> (Watched<Database>, Books) {
        let seed = number("DB_TESTS_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
        let lasts = Duration::from_secs(number("DB_TESTS_SOAK_SECONDS").unwrap_or(8));
        println!("DB_TESTS_SOAK_SEED={seed}");
        let more = [
            ("APP_DB__PROFILE__MAX", "6"),
            ("APP_DB__PROFILE__MIN_IDLE", "2"),
            ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "2s"),
            ("APP_DB__PROFILE__MAX_LIFETIME", "3s"),
            ("APP_DB__PROFILE__CONNECT_TIMEOUT", "2s"),
        ];
        let database = database(&self.db.proxied_url(&self.proxy), &more).await;
        let database = watched(&self.db, database);
        let books = Books::default();
        let clerk = |nth| Clerk::new(nth, seed, database.clone(), books.clone());
        let until = Instant::now() + lasts;
        let clerks = (0..CLERKS).map(|nth| tokio::spawn(clerk(nth).work(until)));
        let clerks: Vec<_> = clerks.collect();
        let mut chaos = Chaos::new(seed, self, &database);
        chaos.reign(until).await;
        chaos.end().await;
        for clerk in clerks {
            clerk.await.unwrap();
        }
        println!("{}; {}", books.summary(), database.status()[0]);
        wait_until("work is done again", SOON, async || {
            clerk(CLERKS).transfer_once().await
        })
        .await;
        (database, books)
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().unwrap())
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
