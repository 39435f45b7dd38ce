//! Opening accounts and reading balances.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};

use crate::error::{Body, LedgerError};
use crate::ledger::Ledger;
use crate::schema::accounts;
use crate::transfers::{ATTEMPTS, CASH_DESK, Transfer, move_money};

#[derive(Deserialize)]
pub(crate) struct NewAccount {
    name: String,
    #[serde(default)]
    deposit: i64,
}

#[derive(Queryable, Serialize)]
pub(crate) struct Account {
    id: i64,
    name: String,
    balance: i64,
}

pub(crate) async fn open(
    State(ledger): State<Ledger>,
    Body(new): Body<NewAccount>,
) -> Result<(StatusCode, Json<Account>), LedgerError> {
    if new.name.is_empty() || new.deposit < 0 {
        return Err(LedgerError::Invalid(
            "an account needs a name, and its deposit is not negative",
        ));
    }
    let transaction = ledger
        .db
        .transaction()
        .serializable()
        .attempts(ATTEMPTS)
        .label("open account");
    let account = transaction
        .run(async |conn| insert(conn, &new).await)
        .await?;
    Ok((StatusCode::CREATED, Json(account)))
}

pub(crate) async fn show(
    State(ledger): State<Ledger>,
    Path(id): Path<i64>,
) -> Result<Json<Account>, LedgerError> {
    let account = ledger.db.read(async |conn| find(conn, id).await).await?;
    account.map(Json).ok_or(LedgerError::NoSuchAccount)
}

async fn find(conn: &mut AsyncPgConnection, id: i64) -> Result<Option<Account>, LedgerError> {
    let account = accounts::table.find(id).first(conn).await.optional()?;
    Ok(account)
}

async fn insert(conn: &mut AsyncPgConnection, new: &NewAccount) -> Result<Account, LedgerError> {
    let mut account: Account = diesel::insert_into(accounts::table)
        .values(accounts::name.eq(&new.name))
        .returning(accounts::all_columns)
        .get_result(conn)
        .await?;
    if new.deposit > 0 {
        let deposit = Transfer {
            from: CASH_DESK,
            to: account.id,
            amount: new.deposit,
        };
        move_money(conn, &deposit).await?;
        account.balance = new.deposit;
    }
    Ok(account)
}
