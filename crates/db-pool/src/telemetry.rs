//! What happens with every command that has ended on the wire.

pub(crate) mod after_commit;
pub(crate) mod begun;
pub(crate) mod bound_values;
pub(crate) mod observer;
pub(crate) mod slow_query;
pub(crate) mod statement_span;
pub(crate) mod statement_stats;
pub(crate) mod throttle;
pub(crate) mod watch;
