//! The questions, each with its answer as text.
//!
//! Texts carry the number of the process or not, so that two processes prepare different statements
//! under one name, and the same statement under different names.

use std::time::Duration;

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{dsl, sql_query};
use diesel_async::{
    AsyncConnection, AsyncConnectionCore, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
};

use crate::mood::{Mood, MoodType};
use crate::schema::{accounts, counters, entries};

/// The asking connection, and the known values of its row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) process: i32,
    /// The row of this connection, in every table.
    pub(crate) me: i32,
    pub(crate) n: i32,
    pub(crate) balance: i64,
    pub(crate) counted: i32,
}

/// How a question is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// On a connection, as it is.
    Plain,
    /// In a read-only transaction.
    Read,
    /// In a transaction.
    Write,
    /// In a serializable transaction.
    Serializable,
}

/// A kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    Literal,
    Sum,
    ByKey,
    Named,
    Update,
    Returning,
    InsertOne,
    InsertMany,
    Upsert,
    MoodItself,
    Unique,
    Division,
    Several,
    Savepoints,
    Large,
    Rows,
    TwoAtOnce,
    Batch,
    TwoReads,
    Transfer,
    Delete,
    Cancelled,
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Integer)]
    id: i32,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    balance: i64,
}

impl Question {
    pub(crate) const ALL: [(Self, Setting); 26] = [
        (Self::Literal, Setting::Plain),
        (Self::Sum, Setting::Plain),
        (Self::ByKey, Setting::Plain),
        (Self::Named, Setting::Plain),
        (Self::Update, Setting::Plain),
        (Self::Sum, Setting::Read),
        (Self::Returning, Setting::Plain),
        (Self::InsertOne, Setting::Plain),
        (Self::InsertMany, Setting::Plain),
        (Self::Upsert, Setting::Plain),
        (Self::MoodItself, Setting::Plain),
        (Self::Unique, Setting::Plain),
        (Self::ByKey, Setting::Read),
        (Self::Division, Setting::Plain),
        (Self::Several, Setting::Write),
        (Self::Savepoints, Setting::Write),
        (Self::Large, Setting::Plain),
        (Self::Rows, Setting::Plain),
        (Self::TwoAtOnce, Setting::Plain),
        (Self::Batch, Setting::Plain),
        (Self::TwoReads, Setting::Read),
        (Self::Transfer, Setting::Serializable),
        (Self::Delete, Setting::Plain),
        (Self::Update, Setting::Write),
        (Self::MoodItself, Setting::Write),
        (Self::Cancelled, Setting::Plain),
    ];

    /// The right answer, and the facts afterwards.
    pub(crate) fn expected(self, facts: &Facts) -> (String, Facts) {
        let Facts {
            process,
            me,
            n,
            balance,
            counted,
        } = *facts;
        let mut after = *facts;
        let answer = match self {
            Self::Literal => format!("{}", me * 10_000 + n),
            Self::Sum => format!("{}", process * 1_000_000 + n),
            Self::ByKey => format!("{me} {balance}"),
            Self::Named => format!("{me} name{me} {balance}"),
            Self::Update => {
                after.balance += 1;
                "1".to_owned()
            }
            Self::Returning => {
                after.balance += 2;
                format!("{}", after.balance)
            }
            Self::InsertOne | Self::Batch => "1".to_owned(),
            Self::InsertMany => "3".to_owned(),
            Self::Upsert => {
                after.counted += 1;
                format!("{}", counted + 1)
            }
            Self::MoodItself => format!("{:?}", Mood::of(n)),
            Self::Unique => "unique".to_owned(),
            Self::Division => "division by zero".to_owned(),
            Self::Several => {
                after.balance += 3;
                format!("{balance} 1 1 {} {:?}", balance + 3, Mood::of(n))
            }
            Self::Savepoints => {
                after.balance += 5;
                format!("{}", balance + 5)
            }
            Self::Large => "y".repeat(20_000) + &n.to_string(),
            Self::Rows => format!("{}", 500 * 501 / 2 + 500 * i64::from(me)),
            Self::TwoAtOnce => format!("{n} {}", n + process),
            Self::TwoReads => format!("{balance} {counted}"),
            Self::Transfer => {
                after.balance += 7;
                format!("{}", balance + 7)
            }
            Self::Delete => "0".to_owned(),
            Self::Cancelled => "cancelled".to_owned(),
        };
        (answer, after)
    }

    pub(crate) async fn ask(
        self,
        conn: &mut AsyncPgConnection,
        facts: Facts,
    ) -> QueryResult<String> {
        let Facts { process, me, n, .. } = facts;
        match self {
            Self::Literal => {
                let text = format!("select {}", me * 10_000 + n);
                shown(dsl::sql::<Integer>(&text).get_result::<i32>(conn).await)
            }
            Self::Sum => shown(sum(conn, process * 1_000_000, n).await),
            Self::ByKey => {
                let row = accounts::table
                    .find(me)
                    .select((accounts::id, accounts::balance));
                let (id, balance): (i32, i64) = row.first(conn).await?;
                Ok(format!("{id} {balance}"))
            }
            Self::Named => {
                let row = sql_query("select balance, id, name from accounts where id = $1")
                    .bind::<Integer, _>(me);
                let row: Named = row.get_result(conn).await?;
                Ok(format!("{} {} {}", row.id, row.name, row.balance))
            }
            Self::Update => shown(add(conn, me, 1).await),
            Self::Returning => shown(
                diesel::update(accounts::table.find(me))
                    .set(accounts::balance.eq(accounts::balance + 2))
                    .returning(accounts::balance)
                    .get_result::<i64>(conn)
                    .await,
            ),
            Self::InsertOne => shown(enter(conn, me, n).await),
            Self::InsertMany => {
                let rows: Vec<_> = (0..3)
                    .map(|nth| {
                        (
                            entries::owner.eq(me),
                            entries::n.eq(n + nth),
                            entries::mood.eq(Mood::of(nth)),
                        )
                    })
                    .collect();
                shown(
                    diesel::insert_into(entries::table)
                        .values(rows)
                        .execute(conn)
                        .await,
                )
            }
            Self::Upsert => shown(
                diesel::insert_into(counters::table)
                    .values((counters::owner.eq(me), counters::n.eq(-1)))
                    .on_conflict(counters::owner)
                    .do_update()
                    .set(counters::n.eq(counters::n + 1))
                    .returning(counters::n)
                    .get_result::<i32>(conn)
                    .await,
            ),
            Self::MoodItself => {
                let itself = diesel::select(Mood::of(n).into_sql::<MoodType>());
                Ok(format!("{:?}", itself.get_result::<Mood>(conn).await?))
            }
            Self::Unique => match again(conn, me).await {
                Err(QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {
                    Ok("unique".to_owned())
                }
                other => shown(other),
            },
            Self::Division => {
                let query = sql_query("select 1 / ($1 - $1)").bind::<Integer, _>(n);
                match query.execute(conn).await {
                    Err(QueryError::DatabaseError(_, error)) => Ok(error.message().to_owned()),
                    other => shown(other),
                }
            }
            Self::Several => several(conn, me, n).await,
            Self::Savepoints => savepoints(conn, me).await,
            Self::Large => {
                dsl::sql::<Text>("select repeat('y', 20000) || ")
                    .bind::<Integer, _>(n)
                    .get_result(conn)
                    .await
            }
            Self::Rows => {
                let rows = dsl::sql::<Integer>("select g + ")
                    .bind::<Integer, _>(me)
                    .sql(" from generate_series(1, 500) g");
                let rows: Vec<i32> = rows.load(conn).await?;
                Ok(rows.into_iter().map(i64::from).sum::<i64>().to_string())
            }
            Self::TwoAtOnce => {
                let conn = &*conn;
                let (mut one, mut other) = (conn, conn);
                let (a, b) = futures_util::join!(sum(&mut one, 0, n), sum(&mut other, process, n));
                Ok(format!("{} {}", a?, b?))
            }
            Self::Batch => {
                conn.batch_execute("select 1; select 2").await?;
                Ok("1".to_owned())
            }
            Self::TwoReads => {
                let balance: i64 = balance(conn, me).await?;
                let counted: i32 = counters::table
                    .find(me)
                    .select(counters::n)
                    .first(conn)
                    .await?;
                Ok(format!("{balance} {counted}"))
            }
            Self::Transfer => {
                let before = balance(conn, me).await?;
                diesel::update(accounts::table.find(me))
                    .set(accounts::balance.eq(before + 7))
                    .execute(conn)
                    .await?;
                shown(balance(conn, me).await)
            }
            Self::Delete => shown(
                diesel::delete(
                    entries::table
                        .filter(entries::owner.eq(me))
                        .filter(entries::n.lt(0)),
                )
                .execute(conn)
                .await,
            ),
            Self::Cancelled => {
                let sleep = sql_query("select pg_sleep(5)").execute(conn);
                match tokio::time::timeout(Duration::from_millis(3), sleep).await {
                    Err(_elapsed) => Ok("cancelled".to_owned()),
                    Ok(other) => shown(other),
                }
            }
        }
    }
}

fn shown<T: ToString>(outcome: QueryResult<T>) -> QueryResult<String> {
    outcome.map(|value| value.to_string())
}

/// One text for each `first`, and so for each process.
async fn sum<C>(conn: &mut C, first: i32, n: i32) -> QueryResult<i32>
where
    C: AsyncConnectionCore<Backend = diesel::pg::Pg>,
{
    let text = format!("select {first} + ");
    dsl::sql::<Integer>(&text)
        .bind::<Integer, _>(n)
        .get_result(conn)
        .await
}

async fn balance(conn: &mut AsyncPgConnection, me: i32) -> QueryResult<i64> {
    let row = accounts::table.find(me).select(accounts::balance);
    row.first(conn).await
}

async fn add(conn: &mut AsyncPgConnection, me: i32, amount: i64) -> QueryResult<usize> {
    diesel::update(accounts::table.find(me))
        .set(accounts::balance.eq(accounts::balance + amount))
        .execute(conn)
        .await
}

async fn enter(conn: &mut AsyncPgConnection, me: i32, n: i32) -> QueryResult<usize> {
    diesel::insert_into(entries::table)
        .values((
            entries::owner.eq(me),
            entries::n.eq(n),
            entries::mood.eq(Mood::of(n)),
        ))
        .execute(conn)
        .await
}

/// A row that is there already.
async fn again(conn: &mut AsyncPgConnection, me: i32) -> QueryResult<usize> {
    diesel::insert_into(counters::table)
        .values((counters::owner.eq(me), counters::n.eq(0)))
        .execute(conn)
        .await
}

async fn several(conn: &mut AsyncPgConnection, me: i32, n: i32) -> QueryResult<String> {
    let before: i64 = accounts::table
        .find(me)
        .select(accounts::balance)
        .for_update()
        .first(conn)
        .await?;
    let updated = add(conn, me, 3).await?;
    let entered = enter(conn, me, n).await?;
    let mood: Mood = entries::table
        .filter(entries::owner.eq(me))
        .filter(entries::n.eq(n))
        .filter(entries::mood.eq(Mood::of(n)))
        .select(entries::mood)
        .first(conn)
        .await?;
    let after = balance(conn, me).await?;
    Ok(format!("{before} {updated} {entered} {after} {mood:?}"))
}

/// Of three inner transactions one is rolled back, one fails and one stays.
async fn savepoints(conn: &mut AsyncPgConnection, me: i32) -> QueryResult<String> {
    add(conn, me, 4).await?;
    let rolled_back: QueryResult<()> = conn
        .transaction(async |conn| {
            add(conn, me, 100).await?;
            Err(QueryError::RollbackTransaction)
        })
        .await;
    let failed = conn
        .transaction(async |conn| {
            add(conn, me, 1000).await?;
            again(conn, me).await
        })
        .await;
    match (rolled_back, failed) {
        (
            Err(QueryError::RollbackTransaction),
            Err(QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)),
        ) => {}
        (one, other) => return Ok(format!("{one:?} {other:?}")),
    }
    conn.transaction(async |conn| add(conn, me, 1).await)
        .await?;
    shown(balance(conn, me).await)
}
