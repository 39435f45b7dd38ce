//! Whether the server has as many connections as the pools may take.

use db_pool::{Pool, Pooler};
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;

use crate::error::Error;

/// How many connections a server lets clients have, as far as one client is told.
#[derive(diesel::QueryableByName)]
struct Limits {
    #[diesel(sql_type = BigInt)]
    max_connections: i64,
    /// Kept for superusers and reserved roles.
    #[diesel(sql_type = BigInt)]
    reserved: i64,
}

/// Warns where pools of these sizes together may take more than the server has (53300 then), counted over
/// this instance alone (req 0.05, req 4.03, req 4.12).
///
/// Behind a pooler nothing is said: what it takes from the server is its own configuration. Costs one
/// query at start; one that fails is no reason not to start.
pub(crate) async fn warn_of_oversize(write: &Pool, sizes: impl Iterator<Item = (String, u32)>) {
    let limits = match limits(write).await {
        Ok(limits) => limits,
        Err(error) => {
            tracing::debug!(%error, "the server's limit of connections could not be read");
            return;
        }
    };
    if write.status().pooler != Pooler::None {
        return;
    }
    let sizes: Vec<_> = sizes.collect();
    let wanted: i64 = sizes.iter().map(|(_, max)| i64::from(*max)).sum();
    let available = limits.max_connections - limits.reserved;
    if wanted > available {
        let pools = sizes.iter().map(|(name, max)| format!("{name} {max}"));
        tracing::warn!(
            wanted,
            available,
            max_connections = limits.max_connections,
            pools = pools.collect::<Vec<_>>().join(", "),
            address = write.address(),
            "the pools may take more connections than the server has for clients"
        );
    }
}

async fn limits(pool: &Pool) -> Result<Limits, Error> {
    let mut conn = pool.get().await?;
    let asked = diesel::sql_query(
        "SELECT current_setting('max_connections')::int8 AS max_connections, \
                current_setting('superuser_reserved_connections')::int8 \
                    + coalesce(current_setting('reserved_connections', true)::int8, 0) AS reserved",
    );
    Ok(asked.get_result(&mut conn).await?)
}
