//! The accounts that every contender works on: their tables, and the statements on them.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::TestDatabase;

diesel::table! {
    accounts (id) {
        id -> Int4,
        balance -> Int8,
    }
}

diesel::table! {
    entries (id) {
        id -> Int8,
        account -> Int4,
        amount -> Int8,
    }
}

/// The rows of `accounts`.
const ACCOUNTS: i32 = 1000;

/// A database with these tables.
pub(crate) async fn database() -> TestDatabase {
    let db = TestDatabase::empty().await.unwrap();
    let tables = format!(
        "create table accounts (id int primary key, balance bigint not null) with (fillfactor = 50); \
         create table entries (id bigserial primary key, account int not null, amount bigint not null); \
         insert into accounts select g, 0 from generate_series(1, {ACCOUNTS}) g; \
         grant all on all tables in schema public to public; \
         grant all on all sequences in schema public to public; analyze"
    );
    db.sql(&tables).await.unwrap();
    db
}

/// Another account each time.
pub(crate) fn some_account() -> i32 {
    fastrand::i32(1..=ACCOUNTS)
}

pub(crate) async fn select(conn: &mut AsyncPgConnection) -> i64 {
    accounts::table
        .find(some_account())
        .select(accounts::balance)
        .first(conn)
        .await
        .unwrap()
}

pub(crate) async fn update(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    diesel::update(accounts::table.find(some_account()))
        .set(accounts::balance.eq(accounts::balance + 1))
        .execute(conn)
        .await
}

/// SELECT .. FOR UPDATE by key, UPDATE, INSERT.
pub(crate) async fn transfer(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    let id = lock_and_update(conn).await?;
    enter(conn, id).await
}

pub(crate) async fn lock_and_update(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    let id = some_account();
    let balance: i64 = accounts::table
        .find(id)
        .select(accounts::balance)
        .for_update()
        .first(conn)
        .await?;
    diesel::update(accounts::table.find(id))
        .set(accounts::balance.eq(balance + 1))
        .execute(conn)
        .await?;
    Ok(id)
}

pub(crate) async fn enter(conn: &mut AsyncPgConnection, id: i32) -> QueryResult<()> {
    diesel::insert_into(entries::table)
        .values((entries::account.eq(id), entries::amount.eq(1)))
        .execute(conn)
        .await?;
    Ok(())
}
