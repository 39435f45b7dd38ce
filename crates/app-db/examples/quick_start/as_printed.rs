use app_db::{Config, Database};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

diesel::table! { accounts (id) { id -> BigInt, balance -> BigInt } }

async fn balance(conn: &mut AsyncPgConnection, id: i64) -> QueryResult<i64> {
    accounts::table.find(id).select(accounts::balance).first(conn).await
}

async fn deposit(conn: &mut AsyncPgConnection, id: i64, amount: i64) -> QueryResult<usize> {
    let add = accounts::balance.eq(accounts::balance + amount);
    diesel::update(accounts::table.find(id)).set(add).execute(conn).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = Database::connect(&Config::load()?).await?;
    db.write(async |conn| deposit(conn, 1, 50).await).await?;
    println!("{}", db.read(async |conn| balance(conn, 1).await).await?);
    Ok(())
}
