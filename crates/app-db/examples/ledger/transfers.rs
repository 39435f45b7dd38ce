//! Moving money.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};

use crate::error::{Body, LedgerError};
use crate::ledger::Ledger;
use crate::schema::{accounts, entries, transfers};

#[derive(Deserialize)]
pub(crate) struct Transfer {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) amount: i64,
}

#[derive(Serialize)]
pub(crate) struct Created {
    id: i64,
}

pub(crate) async fn create(
    State(ledger): State<Ledger>,
    Body(transfer): Body<Transfer>,
) -> Result<(StatusCode, Json<Created>), LedgerError> {
    let transaction = ledger
        .db
        .transaction()
        .serializable()
        .attempts(ATTEMPTS)
        .label("transfer");
    let id = transaction
        .run(async |conn| move_money(conn, &transfer).await)
        .await?;
    Ok((StatusCode::CREATED, Json(Created { id })))
}

/// Records a transfer with its two entries and changes both balances.
///
/// It reads before it writes, which is safe only in a serializable transaction: if two transfers
/// spend the same money, one of them fails with 40001 and is run again. It first locks both
/// accounts, in the order of their numbers. So a conflict fails at the first statement, and not in a
/// deadlock, which the server notices only after a second.
pub(crate) async fn move_money(
    conn: &mut AsyncPgConnection,
    transfer: &Transfer,
) -> Result<i64, LedgerError> {
    let Transfer { from, to, amount } = *transfer;
    if from == to || !(1..=MAX_AMOUNT).contains(&amount) {
        return Err(LedgerError::Invalid(
            "a transfer needs two accounts and a positive amount",
        ));
    }
    let locked: Vec<(i64, i64)> = accounts::table
        .filter(accounts::id.eq_any([from, to]))
        .select((accounts::id, accounts::balance))
        .order(accounts::id)
        .for_update()
        .load(conn)
        .await?;
    let balance_of = |account: i64| {
        let found = locked.iter().find(|(id, _)| *id == account);
        found
            .map(|(_, balance)| *balance)
            .ok_or(LedgerError::UnknownAccount(account))
    };
    balance_of(to)?;
    if balance_of(from)? < amount && from != CASH_DESK {
        return Err(LedgerError::InsufficientFunds);
    }

    add(conn, from, -amount).await?;
    add(conn, to, amount).await?;
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
    Ok(id)
}

async fn add(conn: &mut AsyncPgConnection, account: i64, delta: i64) -> QueryResult<usize> {
    diesel::update(accounts::table.find(account))
        .set(accounts::balance.eq(accounts::balance + delta))
        .execute(conn)
        .await
}

/// The account with this number stands for the world outside; its balance may be negative.
pub(crate) const CASH_DESK: i64 = 0;

/// Transfers between few accounts conflict often, and a conflict costs a few milliseconds.
pub(crate) const ATTEMPTS: u32 = 10;

/// Thousands of such transfers fit into a balance.
const MAX_AMOUNT: i64 = 1_000_000_000_000_000;
