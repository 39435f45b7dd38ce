//! What the wire remembers about the texts that have passed: prepared statements, and what a watcher stores
//! with them.

pub(crate) mod stale;
pub(crate) mod statement_cache;
pub(crate) mod texts;
