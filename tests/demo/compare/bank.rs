//! What both sides of the comparison do: the same functions of diesel-async, each side on its own kind of
//! pool.

use std::error::Error;

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::tables::{accounts, entries, transfers};

/// A service on one of the two pools.
pub(crate) trait Bank: Clone + Send + Sync + 'static {
    /// Moves money in one transaction. After an error nothing was moved, as far as the caller can know.
    fn transfer(&self, transfer: Transfer) -> impl Future<Output = Result<(), Failed>> + Send;

    /// The number and the balance of an account.
    fn account(&self, id: i64) -> impl Future<Output = Result<(i64, i64), Failed>> + Send;

    /// The payer and the amount of a transfer, if it is there.
    fn payment(&self, id: i64) -> impl Future<Output = Result<Option<(i64, i64)>, Failed>> + Send;

    /// A customer's question that takes `seconds`.
    fn question(&self, seconds: f64) -> impl Future<Output = Result<(), Failed>> + Send;

    /// A report that takes `seconds`, on the pool for reports if the side has one.
    fn report(&self, seconds: f64) -> impl Future<Output = Result<(), Failed>> + Send;

    /// Tells the pool a new password, if the pool has a call for that.
    fn told(&self, user: &str, password: &str) -> impl Future<Output = Result<(), Failed>> + Send;
}

/// Any error of the pool or the server. The comparison only counts it.
pub(crate) type Failed = Box<dyn Error + Send + Sync>;

#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) amount: i64,
}

/// Locks both accounts in order, so that there are no deadlocks, changes both balances and books two entries.
pub(crate) async fn move_money(
    conn: &mut AsyncPgConnection,
    transfer: Transfer,
) -> QueryResult<()> {
    let Transfer { from, to, amount } = transfer;
    let locking = accounts::table.filter(accounts::id.eq_any([from, to]));
    let locking = locking
        .select(accounts::id)
        .order(accounts::id)
        .for_update();
    let _locked: Vec<i64> = locking.load(conn).await?;
    for (account, delta) in [(from, -amount), (to, amount)] {
        diesel::update(accounts::table.find(account))
            .set(accounts::balance.eq(accounts::balance + delta))
            .execute(conn)
            .await?;
    }
    let id: i64 = diesel::insert_into(transfers::table)
        .values((
            transfers::from_account.eq(from),
            transfers::to_account.eq(to),
            transfers::amount.eq(amount),
        ))
        .returning(transfers::id)
        .get_result(conn)
        .await?;
    let entry = |account: i64, delta: i64| {
        (
            entries::transfer.eq(id),
            entries::account.eq(account),
            entries::delta.eq(delta),
        )
    };
    diesel::insert_into(entries::table)
        .values([entry(from, -amount), entry(to, amount)])
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn account(conn: &mut AsyncPgConnection, id: i64) -> QueryResult<(i64, i64)> {
    let found = accounts::table.find(id);
    found
        .select((accounts::id, accounts::balance))
        .first(conn)
        .await
}

pub(crate) async fn payment(
    conn: &mut AsyncPgConnection,
    id: i64,
) -> QueryResult<Option<(i64, i64)>> {
    let found = transfers::table.find(id);
    let found = found.select((transfers::from_account, transfers::amount));
    found.first(conn).await.optional()
}

/// Waits in the server, as a long query does, but leaves the processors to the load.
pub(crate) async fn wait(conn: &mut AsyncPgConnection, seconds: f64) -> QueryResult<()> {
    let waiting = diesel::sql_query("SELECT pg_sleep($1)");
    let waiting = waiting.bind::<diesel::sql_types::Double, _>(seconds);
    waiting.execute(conn).await.map(drop)
}
