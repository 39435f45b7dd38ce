//! What works beside the connections of a pool: listeners and the prober.

pub(crate) mod following;
pub(crate) mod listener;
pub(crate) mod lone_session;
pub(crate) mod probe;
pub(crate) mod prober;
