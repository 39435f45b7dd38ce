//! What a statement does to relations, as its text shows it: which it locks and how strongly, which it scans
//! or rewrites, and which it creates.
//!
//! A plan asks the catalogue for the rest: partitions, foreign keys, and how large everything is.

mod alter_table;
mod create;
pub(super) mod lock_mode;
mod maintenance;
mod query;
pub(super) mod statement;
pub(super) mod touch;
