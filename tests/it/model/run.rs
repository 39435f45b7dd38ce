//! One sequence on pooled connections, and beside them on plain ones.

use std::fmt;
use std::time::Duration;

use app_db::{Connection, Pool, PoolProfile};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use harness::{Bouncer, Server, TestDatabase};
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use super::answer::Answer;
use super::sequence::{Form, Step};
use crate::pool::{sized, url};

/// The way to the server.
pub(crate) struct Way {
    server: Server,
    bouncer: Option<Bouncer>,
}

/// An answer that differs.
#[derive(Debug)]
pub(crate) struct Mismatch {
    pub(crate) step: usize,
    plain: Answer,
    ours: Answer,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plain: {:?}\nours:  {:?}", self.plain, self.ours)
    }
}

impl Way {
    pub(crate) fn direct(server: &Server) -> Self {
        Self {
            server: server.clone(),
            bouncer: None,
        }
    }

    pub(crate) fn through(server: &Server, bouncer: Bouncer) -> Self {
        Self {
            server: server.clone(),
            bouncer: Some(bouncer),
        }
    }

    fn url(&self, db: &TestDatabase) -> String {
        match &self.bouncer {
            Some(bouncer) => db.pooled_url(bouncer),
            None => db.url(),
        }
    }

    async fn database(&self) -> TestDatabase {
        let db = TestDatabase::empty_on(&self.server).await.unwrap();
        let role = db.role().name();
        // Nobody waits for the other for long.
        let set_up = format!(
            "create schema other authorization {role}; \
             create table t (id int primary key, v text); insert into t values (1, 'one'), (2, 'two'); \
             create table other.t (id int, v int8); insert into other.t values (1, 11); \
             create view named as select 'public' n; create view other.named as select 1 other, 'other' n; \
             alter table t owner to {role}; alter table other.t owner to {role}; \
             grant all on all tables in schema public, other to {role}; \
             grant all on schema public to {role}; \
             alter database {} set lock_timeout = '100ms'",
            db.name()
        );
        db.sql(&set_up).await.unwrap();
        db
    }
}

/// Two who borrow, and the plain connection beside each.
struct Borrower {
    ours: Connection,
    plain: AsyncPgConnection,
}

struct Run {
    pool: Pool,
    plain_url: String,
    borrowers: [Option<Borrower>; 2],
    /// How many kept statements may still fail because of a change: one for each connection of the pool.
    may_fail: u32,
}

/// Runs a sequence. Returns the first answer that differs.
pub(crate) async fn run(way: &Way, steps: &[Step]) -> Option<Mismatch> {
    let (ours, plain) = (way.database().await, way.database().await);
    let other = other_client(way, &ours).await;
    let mut run = Run {
        pool: Pool::connect(url(&way.url(&ours)), profile())
            .await
            .unwrap(),
        plain_url: plain.url(),
        borrowers: [None, None],
        may_fail: 0,
    };
    let mut mismatch = None;
    for (place, step) in steps.iter().enumerate() {
        match step {
            Step::Return { borrower } => drop(run.borrowers[*borrower].take()),
            Step::Occupy { held } => {
                if let Some(other) = &other {
                    let sql = if *held { "begin; select 1" } else { "rollback" };
                    other.batch_execute(sql).await.unwrap();
                }
            }
            Step::Run {
                borrower,
                form,
                sql,
                changes,
            } => {
                if *changes {
                    run.may_fail = CONNECTIONS;
                }
                if let Some((plain, ours)) = run.step(*borrower, *form, sql).await {
                    mismatch = Some(Mismatch {
                        step: place,
                        plain,
                        ours,
                    });
                    break;
                }
            }
        }
    }
    run.borrowers = [None, None];
    drop(other);
    run.pool.close(PATIENCE).await;
    mismatch
}

impl Run {
    /// Runs one statement on both sides; the answers, where they differ.
    async fn step(&mut self, place: usize, form: Form, sql: &str) -> Option<(Answer, Answer)> {
        if self.borrowers[place].is_none() {
            self.borrowers[place] = Some(Borrower {
                ours: self.pool.get().await.unwrap(),
                plain: AsyncPgConnection::establish(&self.plain_url).await.unwrap(),
            });
        }
        let borrower = self.borrowers[place].as_mut()?;
        let asked = timeout(PATIENCE, Answer::of(&mut borrower.ours, form, sql));
        let silent = |_| Answer::Failed("no answer".to_owned());
        let ours = asked.await.unwrap_or_else(silent);
        let outdated = form == Form::Kept && ours.is_outdated() && self.may_fail > 0;
        if outdated || (ours.is_refusal() && may_be_refused(sql)) {
            // It failed at one side. Now it fails at the other side too, and spoils the same
            // transaction.
            Answer::of(&mut borrower.plain, Form::Command, "refused").await;
            if outdated {
                self.may_fail -= 1;
                self.borrowers[place] = None;
            } else {
                // A server that refuses lets go of the transaction's locks; ours are held until its end.
                for conn in [
                    &mut borrower.ours as &mut AsyncPgConnection,
                    &mut borrower.plain,
                ] {
                    Answer::of(conn, Form::Command, "rollback").await;
                }
            }
            return None;
        }
        // A plain connection that prepares each time is always right.
        let form = if form == Form::Kept { Form::Read } else { form };
        let plain = Answer::of(&mut borrower.plain, form, sql).await;
        (plain != ours).then_some((plain, ours))
    }
}

/// Whether the statement cannot run behind a pooler.
fn may_be_refused(sql: &str) -> bool {
    sql.starts_with("set ") && !sql.starts_with("set local ")
}

fn profile() -> PoolProfile {
    let mut profile = sized(CONNECTIONS);
    profile.statement_timeout = None;
    profile.idle_in_transaction_session_timeout = None;
    profile
}

/// Another client of the same pooler. It makes the pooler change our server connection.
async fn other_client(way: &Way, db: &TestDatabase) -> Option<Client> {
    way.bouncer.as_ref()?;
    let (client, connection) = tokio_postgres::connect(&way.url(db), NoTls).await.unwrap();
    tokio::spawn(connection);
    Some(client)
}

const CONNECTIONS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(5);
