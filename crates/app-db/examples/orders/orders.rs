//! Placing an order, and looking at one.

use app_db::Database;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};

use crate::error::OrdersError;
use crate::schema::orders;

#[derive(Clone, Deserialize, Insertable)]
#[diesel(table_name = orders)]
pub(crate) struct NewOrder {
    pub(crate) reference: String,
    pub(crate) item: String,
    pub(crate) amount: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Queryable, Serialize)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) reference: String,
    pub(crate) item: String,
    pub(crate) amount: i64,
}

#[derive(Serialize)]
pub(crate) struct Placed {
    id: i64,
}

pub(crate) async fn place(
    State(db): State<Database>,
    Json(new): Json<NewOrder>,
) -> Result<(StatusCode, Json<Placed>), OrdersError> {
    if new.item.is_empty() || new.amount <= 0 {
        return Err(OrdersError::Invalid(
            "an order needs an item, and its amount is positive",
        ));
    }
    let id = db.write(async |conn| insert(conn, &new).await).await?;
    Ok((StatusCode::CREATED, Json(Placed { id })))
}

pub(crate) async fn newest(State(db): State<Database>) -> Result<Json<Vec<Order>>, OrdersError> {
    Ok(Json(db.read(list).await?))
}

pub(crate) async fn show(
    State(db): State<Database>,
    Path(id): Path<i64>,
) -> Result<Json<Order>, OrdersError> {
    let order = db.read(async |conn| find(conn, id).await).await?;
    order.map(Json).ok_or(OrdersError::NoSuchOrder)
}

/// Inserts an order, and tells every listener once it is committed.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    new: &NewOrder,
) -> Result<i64, OrdersError> {
    let id: i64 = diesel::insert_into(orders::table)
        .values(new)
        .returning(orders::id)
        .get_result(conn)
        .await?;
    diesel::sql_query("SELECT pg_notify('orders', $1)")
        .bind::<Text, _>(id.to_string())
        .execute(conn)
        .await?;
    Ok(id)
}

pub(crate) async fn find(
    conn: &mut AsyncPgConnection,
    id: i64,
) -> Result<Option<Order>, OrdersError> {
    Ok(orders::table.find(id).first(conn).await.optional()?)
}

async fn list(conn: &mut AsyncPgConnection) -> Result<Vec<Order>, OrdersError> {
    let newest = orders::table.order(orders::id.desc()).limit(100);
    Ok(newest.load(conn).await?)
}
