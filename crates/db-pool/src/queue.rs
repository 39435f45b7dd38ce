//! Who may hold a connection, and whose turn it is.

pub(crate) mod gate;
pub(crate) mod line;
pub(crate) mod waits;
