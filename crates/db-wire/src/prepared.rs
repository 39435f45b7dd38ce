//! What the wire remembers of the texts that passed: prepared statements, and what a watcher keeps by them.

pub(crate) mod stale;
pub(crate) mod statement_cache;
pub(crate) mod texts;
