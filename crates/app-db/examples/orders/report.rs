//! A report that may take long.

use app_db::Database;
use axum::Json;
use axum::extract::State;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;

use crate::error::OrdersError;

#[derive(Debug, PartialEq, Eq, QueryableByName, Serialize)]
pub(crate) struct Line {
    #[diesel(sql_type = Text)]
    pub(crate) item: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) orders: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) amount: i64,
}

/// The clients that ask for it, however many, take no connection from a client that places an
/// order.
pub(crate) async fn by_item(State(db): State<Database>) -> Result<Json<Vec<Line>>, OrdersError> {
    let reporting = db
        .transaction_on("report")?
        .repeatable_read()
        .read_only()
        .label("report");
    Ok(Json(reporting.run(lines).await?))
}

pub(crate) async fn lines(conn: &mut AsyncPgConnection) -> Result<Vec<Line>, OrdersError> {
    let lines = "SELECT item, count(*) AS orders, sum(amount)::bigint AS amount \
        FROM orders GROUP BY item ORDER BY item";
    Ok(diesel::sql_query(lines).load(conn).await?)
}
