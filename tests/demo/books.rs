//! What the ledger has recorded, read from the database itself.

use harness::Cluster;

use crate::error::DemoError;

/// The ledger's invariant in numbers.
pub(crate) struct Books {
    /// The sum of all entries: 0 if no money was created or lost.
    pub(crate) sum: i64,
    /// The entries: two for each transfer.
    pub(crate) rows: u64,
    /// Accounts whose balance is not the sum of their entries.
    pub(crate) wrong_balances: u64,
}

impl Books {
    /// Reads them as the superuser, past pooler and service.
    pub(crate) async fn read(cluster: &Cluster) -> Result<Self, DemoError> {
        let client = cluster.admin_of("app").await?;
        let row = client.query_one(READ, &[]).await?;
        Ok(Self {
            sum: row.try_get(0)?,
            rows: row.try_get::<_, i64>(1)?.unsigned_abs(),
            wrong_balances: row.try_get::<_, i64>(2)?.unsigned_abs(),
        })
    }
}

const READ: &str = "
SELECT (SELECT coalesce(sum(delta), 0)::bigint FROM entries),
       (SELECT count(*) FROM entries),
       (SELECT count(*)
        FROM accounts
        LEFT JOIN (SELECT account, sum(delta) FROM entries GROUP BY account) AS booked ON account = id
        WHERE balance <> coalesce(sum, 0))";
