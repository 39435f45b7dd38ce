//! Transactions: the same code on our connection and on a plain one, and with our helpers.

use diesel::QueryResult;
use diesel_async::{AsyncConnection, AsyncPgConnection};

use crate::accounts;
use crate::contenders::Contenders;
use crate::deadpool::Deadpool;
use crate::pairs::pairs;

async fn update_in_transaction(conn: &mut AsyncPgConnection) {
    let updated: QueryResult<usize> = conn
        .transaction(async |conn| accounts::update(conn).await)
        .await;
    assert_eq!(updated, Ok(1));
}

async fn transfer_in_transaction(conn: &mut AsyncPgConnection) {
    conn.transaction(async |conn| accounts::transfer(conn).await)
        .await
        .unwrap();
}

/// How much faster is a transaction of one UPDATE, whose BEGIN travels with it?
pub(crate) async fn one_update(contenders: &Contenders, name: &'static str) {
    let mut ours = contenders.pool().get().await.unwrap();
    let mut plain = contenders.plain().await;
    let outcome = pairs(
        name,
        async || update_in_transaction(&mut ours).await,
        async || update_in_transaction(&mut plain).await,
    );
    outcome.await.answer(1.7);
}

/// How much faster is SELECT .. FOR UPDATE, UPDATE, INSERT in a transaction?
pub(crate) async fn three_statements(contenders: &Contenders, name: &'static str) {
    let mut ours = contenders.pool().get().await.unwrap();
    let mut plain = contenders.plain().await;
    let outcome = pairs(
        name,
        async || transfer_in_transaction(&mut ours).await,
        async || transfer_in_transaction(&mut plain).await,
    );
    outcome.await.answer(1.4);
}

/// Is `db.read` of one SELECT, checkout included, faster than the same transaction on a plain connection?
pub(crate) async fn read(contenders: &Contenders, name: &'static str) {
    let mut plain = contenders.plain().await;
    let outcome = pairs(
        name,
        async || {
            let read: QueryResult<i64> = contenders
                .database
                .read(async |conn| Ok(accounts::select(conn).await))
                .await;
            read.unwrap();
        },
        async || {
            let read: QueryResult<i64> = plain
                .build_transaction()
                .read_only()
                .run(async |conn| Ok(accounts::select(conn).await))
                .await;
            read.unwrap();
        },
    );
    outcome.await.answer(1.0);
}

/// How much faster is the same transaction with `db.write` than with bb8 without validation?
pub(crate) async fn by_write(contenders: &Contenders, name: &'static str) {
    let bb8 = contenders.bb8(false).await;
    let outcome = pairs(
        name,
        async || {
            let written = contenders.database.write(accounts::transfer).await;
            written.unwrap();
        },
        async || transfer_in_transaction(&mut bb8.get().await.unwrap()).await,
    );
    outcome.await.answer(1.6);
}

/// Is it faster with `db.write` than with the fastest peer, deadpool-postgres, which has no diesel on
/// top?
pub(crate) async fn by_write_against_deadpool(contenders: &Contenders, name: &'static str) {
    let deadpool = Deadpool::connect(&contenders.url()).await;
    let outcome = pairs(
        name,
        async || {
            let written = contenders.database.write(accounts::transfer).await;
            written.unwrap();
        },
        async || deadpool.transfer().await.unwrap(),
    );
    outcome.await.answer(1.1);
}
