//! What becomes of every command that the wire has seen the end of.

pub(crate) mod after_commit;
pub(crate) mod begun;
pub(crate) mod bound_values;
pub(crate) mod observer;
pub(crate) mod slow_query;
pub(crate) mod statement_span;
pub(crate) mod statement_stats;
pub(crate) mod throttle;
pub(crate) mod watch;
