//! Compares the sizes of the pools with the connections that the server offers.

use db_pool::{Pool, Pooler};
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;

use crate::error::Error;

/// How many connections a server offers to clients, as far as a client can see.
#[derive(diesel::QueryableByName)]
struct Limits {
    #[diesel(sql_type = BigInt)]
    max_connections: i64,
    /// Reserved for superusers and other special roles.
    #[diesel(sql_type = BigInt)]
    reserved: i64,
}

/// Warns if pools of these sizes can take more connections than the server has. It counts the pools of this
/// instance alone. The server would refuse the surplus with 53300.
///
/// Behind a pooler it says nothing, because the configuration of the pooler limits what reaches the server.
/// It costs one query at the start. If that query fails, the service starts all the same.
pub(crate) async fn warn_of_oversize(write: &Pool, sizes: impl Iterator<Item = (String, u32)>) {
    let limits = match limits(write).await {
        Ok(limits) => limits,
        Err(error) => {
            tracing::debug!(target: "app_db::start_up", %error, "the server's limit of connections could not be read");
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
        tracing::warn!(target: "app_db::start_up",
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
