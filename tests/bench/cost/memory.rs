//! How much memory our connection needs beyond a plain one, and how much each kept statement adds.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::accounts::{accounts, some_account};
use crate::measure::Cost;
use crate::say;

const STATEMENTS: usize = 20;
/// Bytes, without the kept statements.
const TARGET: f64 = 8.0 * 1024.0;

/// Runs the statements. diesel itself keeps half of them prepared.
pub(crate) async fn use_it(conn: &mut AsyncPgConnection) {
    for nth in 0..STATEMENTS / 2 {
        let _balances: Vec<i64> = select(nth).load(conn).await.unwrap();
        let updated = diesel::sql_query(update(nth))
            .bind::<BigInt, _>(1)
            .bind::<Integer, _>(some_account())
            .execute(conn)
            .await;
        assert_eq!(updated, Ok(1));
    }
}

fn select(nth: usize) -> accounts::BoxedQuery<'static, Pg, BigInt> {
    let mut query = accounts::table.select(accounts::balance).into_boxed();
    for _ in 0..=nth {
        query = query.or_filter(accounts::id.eq(some_account()));
    }
    query
}

fn update(nth: usize) -> String {
    format!("UPDATE accounts SET balance = balance + $1 WHERE id = $2 -- number {nth}")
}

/// The size of all these texts in bytes.
fn texts() -> usize {
    let select = |nth| {
        let shown = diesel::debug_query::<Pg, _>(&select(nth)).to_string();
        shown.split(" -- binds").next().map_or(0, str::len)
    };
    (0..STATEMENTS / 2)
        .map(|nth| select(nth) + update(nth).len())
        .sum()
}

/// Reports whether a connection is small enough before it has kept a text.
pub(crate) fn judge(ours: &Cost, plain: &Cost) {
    let beyond = ours.bytes - plain.bytes;
    let verdict = if beyond <= TARGET {
        "PASS"
    } else {
        "short of target"
    };
    say(&format!(
        "memory of a connection: {beyond:.0} bytes beyond a plain one, target {TARGET:.0}: {verdict}"
    ));
}

/// Reports what the kept statements add.
pub(crate) fn tell_of_statements(ours: &Cost, plain: &Cost) {
    let texts = texts() as f64;
    let beyond = ours.bytes - plain.bytes;
    say(&format!(
        "with {STATEMENTS} statements kept: {beyond:.0} bytes beyond a plain one, {texts:.0} of them their texts"
    ));
}
