//! Who may hold a connection, and whose turn it is.

pub(crate) mod gate;
pub(crate) mod turns;
pub(crate) mod waits;
