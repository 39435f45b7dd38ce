//! Tests that leave nothing behind: each runs in a transaction that is rolled back, its table included.
//!
//! They need a database, which `DATABASE_URL` names; `./run test` starts one.

use app_db::{Config, Database, Error};
use axum::http::StatusCode;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};

use crate::error::OrdersError;
use crate::orders::{NewOrder, Order, find, insert};
use crate::report::{Line, lines};

const TABLE: &str = include_str!("migrations/2026-11-27-080000_create_orders/up.sql");

async fn database() -> Result<Database, Error> {
    Database::connect(&Config::load()?).await
}

fn order(reference: &str, item: &str, amount: i64) -> NewOrder {
    NewOrder {
        reference: reference.to_owned(),
        item: item.to_owned(),
        amount,
    }
}

async fn with_a_table(conn: &mut AsyncPgConnection) -> Result<(), OrdersError> {
    // A table of the same name may be there, and a test in another transaction may be making one.
    let schema = "CREATE SCHEMA orders_test; SET LOCAL search_path = orders_test; ";
    Ok(conn.batch_execute(&format!("{schema}{TABLE}")).await?)
}

#[tokio::test]
async fn a_reference_is_taken_once() -> Result<(), OrdersError> {
    let db = database().await?;
    db.test_transaction(async |conn| {
        with_a_table(conn).await?;
        let id = insert(conn, &order("A1", "tea", 3)).await?;
        // A nested transaction: its failure undoes the savepoint alone.
        let again = conn
            .transaction(async |conn| insert(conn, &order("A1", "tea", 3)).await)
            .await;
        assert_eq!(again.unwrap_err().status(), StatusCode::CONFLICT);
        let expected = Order {
            id,
            reference: "A1".to_owned(),
            item: "tea".to_owned(),
            amount: 3,
        };
        assert_eq!(find(conn, id).await?, Some(expected));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_report_adds_up_each_item() -> Result<(), OrdersError> {
    let db = database().await?;
    db.test_transaction(async |conn| {
        with_a_table(conn).await?;
        for (reference, item, amount) in [("A", "tea", 3), ("B", "milk", 1), ("C", "tea", 4)] {
            insert(conn, &order(reference, item, amount)).await?;
        }
        let line = |item: &str, orders, amount| Line {
            item: item.to_owned(),
            orders,
            amount,
        };
        assert_eq!(lines(conn).await?, [line("milk", 1, 1), line("tea", 2, 7)]);
        Ok(())
    })
    .await
}
