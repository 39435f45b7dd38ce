//! Compares the sizes of the pools with the connections that the server offers.

use db_pool::plumbing::{self, ConnectionLimits};
use db_pool::{Pool, Pooler};

/// Warns if pools of these sizes can take all connections of the server, or more. Then no operator could log
/// in, and the server would refuse further logins with 53300. Only the pools of this instance count.
///
/// Behind a pooler there is no warning, because the pooler's configuration limits the connections to the
/// server. It costs nothing, because the first connection has already asked for the server's limits.
pub(crate) fn warn_of_oversize(write: &Pool, sizes: impl Iterator<Item = (String, u32)>) {
    if write.status().pooler != Pooler::None {
        return;
    }
    let Some(limits) = plumbing::connection_limits(write) else {
        tracing::debug!(target: "app_db::start_up", "the server did not say how many connections it has");
        return;
    };
    let ConnectionLimits { max, reserved } = limits;
    let sizes: Vec<_> = sizes.collect();
    let wanted: i64 = sizes.iter().map(|(_, max)| i64::from(*max)).sum();
    let available = max - reserved;
    if wanted >= available {
        let pools = sizes.iter().map(|(name, max)| format!("{name} {max}"));
        tracing::warn!(target: "app_db::start_up",
            wanted,
            available,
            max_connections = max,
            pools = pools.collect::<Vec<_>>().join(", "),
            address = write.address(),
            "the pools may take all connections that the server has for clients"
        );
    }
}
