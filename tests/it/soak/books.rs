//! The ledger, its clerks, and the answers that they got.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use app_db::{Database, Error, Kind};
use diesel::QueryResult;
use diesel::sql_types::{BigInt, Integer};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::TestDatabase;

const ACCOUNTS: i32 = 8;

pub(super) async fn open(db: &TestDatabase) {
    db.sql(&format!(
        "create table accounts (id int primary key, balance bigint not null default 0); \
         insert into accounts select generate_series(1, {ACCOUNTS}); \
         create table transfers (id bigint primary key, source int not null, target int not null); \
         grant all on all tables in schema public to public"
    ))
    .await
    .unwrap();
}

/// The outcome of one transfer, as its clerk was told.
#[derive(Clone, Debug)]
enum Answer {
    /// In this way.
    Done(&'static str),
    /// By an error that says so.
    Refused(Kind, String),
    Unknown,
}

/// Every transfer that was asked for, by its id.
#[derive(Clone, Default)]
pub(super) struct Books(Arc<Mutex<BTreeMap<i64, Answer>>>);

impl Books {
    fn note(&self, id: i64, answer: Answer) {
        let before = self.0.lock().unwrap().insert(id, answer);
        assert!(before.is_none(), "{id} was asked for twice");
    }

    pub(super) fn summary(&self) -> String {
        let mut counts = BTreeMap::<String, u32>::new();
        for answer in self.0.lock().unwrap().values() {
            let kind = match answer {
                Answer::Refused(kind, _) => format!("refused as {kind:?}"),
                answer => format!("{answer:?}"),
            };
            *counts.entry(kind).or_default() += 1;
        }
        format!("{counts:?}")
    }

    /// Compares what was said with what the server has.
    pub(super) async fn are_right(&self, db: &TestDatabase) {
        let there: Vec<i64> = db
            .scalar("select coalesce(array_agg(id), '{}') from transfers")
            .await
            .unwrap();
        let there = BTreeSet::from_iter(there);
        let answers = self.0.lock().unwrap().clone();
        assert!(there.iter().all(|id| answers.contains_key(id)));
        let mut done = 0;
        for (id, answer) in &answers {
            match answer {
                Answer::Done(way) => {
                    assert!(
                        there.contains(id),
                        "{id} was acknowledged and is lost, {way}"
                    );
                }
                Answer::Refused(_, error) => {
                    assert!(!there.contains(id), "{id} is there in spite of: {error}");
                    assert!(!error.contains(&db.password()), "{error}");
                }
                Answer::Unknown => {}
            }
            done += u32::from(matches!(answer, Answer::Done(_)));
        }
        assert!(done > 5, "only {done} of {}", answers.len());
        let wrong: i64 = db
            .scalar(
                "select count(*) from accounts a where balance <> \
                     (select count(*) filter (where target = a.id) - count(*) filter (where source = a.id) \
                      from transfers)",
            )
            .await
            .unwrap();
        assert_eq!(wrong, 0, "half a transfer is there");
    }
}

/// Somebody who transfers one unit after the other, in every way there is.
pub(super) struct Clerk {
    number: i64,
    dice: fastrand::Rng,
    database: Database,
    books: Books,
}

impl Clerk {
    pub(super) fn new(number: i64, seed: u64, database: Database, books: Books) -> Self {
        Self {
            number,
            dice: fastrand::Rng::with_seed(seed.wrapping_add(number.unsigned_abs())),
            database,
            books,
        }
    }

    pub(super) async fn work(mut self, until: Instant) {
        for nth in 0.. {
            if Instant::now() >= until {
                return;
            }
            let is_served = match self.dice.u8(..8) {
                0 => self.look().await,
                1 => self.transfer_in_a_hurry(nth).await,
                2 => self.transfer_by_hand(nth).await,
                _ => self.transfer(nth).await,
            };
            if !is_served {
                // A pause, as a service's client makes it.
                tokio::time::sleep(Duration::from_millis(self.dice.u64(5..30))).await;
            }
        }
    }

    /// Does one transfer, for a clerk that does no other. Returns whether it is done.
    pub(super) async fn transfer_once(mut self) -> bool {
        // Transfers that were refused before have ids too.
        let nth = self.books.0.lock().unwrap().len();
        self.transfer(i64::try_from(nth).unwrap()).await
    }

    /// No state between two is ever seen.
    async fn look(&mut self) -> bool {
        let sum = self.database.read(sum).await;
        if let Ok(sum) = &sum {
            assert_eq!(*sum, 0);
        }
        sum.is_ok()
    }

    async fn transfer(&mut self, nth: i64) -> bool {
        let (id, transfer) = self.next(nth);
        let mut described = self.database.transaction().attempts(5).label("transfer");
        let way = ["serializable", "resolved", "bounded", "written"][self.dice.usize(..4)];
        match way {
            "serializable" => described = described.serializable(),
            "resolved" => described = described.resolve_commit(),
            "bounded" => described = described.timeout(Duration::from_millis(200)),
            _ => {}
        }
        let outcome = described
            .run(async move |conn: &mut AsyncPgConnection| {
                Ok::<_, Error>(transfer.run(conn).await?)
            })
            .await;
        self.told(id, way, outcome)
    }

    /// A clerk that gives up cannot know the outcome.
    async fn transfer_in_a_hurry(&mut self, nth: i64) -> bool {
        let (id, transfer) = self.next(nth);
        let patience = Duration::from_micros(self.dice.u64(..60_000));
        let running = self
            .database
            .write(async move |conn: &mut AsyncPgConnection| {
                Ok::<_, Error>(transfer.run(conn).await?)
            });
        match tokio::time::timeout(patience, running).await {
            Ok(outcome) => self.told(id, "in a hurry", outcome),
            Err(_given_up) => {
                self.books.note(id, Answer::Unknown);
                true
            }
        }
    }

    /// In one statement, on a plain connection.
    async fn transfer_by_hand(&mut self, nth: i64) -> bool {
        let (id, transfer) = self.next(nth);
        let outcome = async {
            let mut conn = self.database.get().await?;
            transfer.at_once(&mut conn).await.map_err(Error::from)
        };
        let outcome = outcome.await;
        self.told(id, "by hand", outcome)
    }

    fn told(&self, id: i64, way: &'static str, outcome: Result<(), Error>) -> bool {
        let answer = match &outcome {
            Ok(()) => Answer::Done(way),
            Err(error) if error.kind() == Kind::OutcomeUnknown => Answer::Unknown,
            Err(error) => Answer::Refused(error.kind(), format!("{error:?}")),
        };
        self.books.note(id, answer);
        outcome.is_ok()
    }

    fn next(&mut self, nth: i64) -> (i64, Transfer) {
        let id = self.number * 1_000_000_000 + nth;
        let source = self.dice.i32(1..=ACCOUNTS);
        let target = (source + self.dice.i32(0..ACCOUNTS - 1)) % ACCOUNTS + 1;
        (id, Transfer { id, source, target })
    }
}

/// One unit from one account to another.
#[derive(Clone, Copy)]
struct Transfer {
    id: i64,
    source: i32,
    target: i32,
}

impl Transfer {
    /// In whatever order the accounts come, so that some transfers meet in a deadlock.
    async fn run(self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        diesel::sql_query("insert into transfers values ($1, $2, $3)")
            .bind::<BigInt, _>(self.id)
            .bind::<Integer, _>(self.source)
            .bind::<Integer, _>(self.target)
            .execute(conn)
            .await?;
        for (account, by) in [(self.source, -1), (self.target, 1)] {
            diesel::sql_query("update accounts set balance = balance + $1 where id = $2")
                .bind::<Integer, _>(by)
                .bind::<Integer, _>(account)
                .execute(conn)
                .await?;
        }
        Ok(())
    }

    async fn at_once(self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        diesel::sql_query(
            "with noted as (insert into transfers values ($1, $2, $3)) \
             update accounts set balance = balance + case id when $2 then -1 else 1 end \
             where id in ($2, $3)",
        )
        .bind::<BigInt, _>(self.id)
        .bind::<Integer, _>(self.source)
        .bind::<Integer, _>(self.target)
        .execute(conn)
        .await?;
        Ok(())
    }
}

async fn sum(conn: &mut AsyncPgConnection) -> Result<i64, Error> {
    let sum = diesel::dsl::sql::<BigInt>("select sum(balance)::bigint from accounts");
    Ok(sum.get_result(conn).await?)
}
