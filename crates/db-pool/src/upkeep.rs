//! What changes the pool as a whole.

pub(crate) mod drain;
pub(crate) mod keeper;
pub(crate) mod reconfigure;
pub(crate) mod resize;
pub(crate) mod rotation;
pub(crate) mod shutdown;
pub(crate) mod warm_up;
