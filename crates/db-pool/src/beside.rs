//! Listeners and the prober, which work beside the connections of a pool.

pub(crate) mod following;
pub(crate) mod listener;
pub(crate) mod lone_session;
pub(crate) mod probe;
pub(crate) mod prober;
